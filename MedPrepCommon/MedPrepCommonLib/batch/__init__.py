"""One recipe over many cases: plan, workers, records, report, exports."""
