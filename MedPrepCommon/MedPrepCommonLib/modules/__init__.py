"""What the four Slicer modules share beside the panel: logic, sample data, self tests, packages on demand."""
