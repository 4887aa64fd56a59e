"""Words made from definitions, written out for translators by Tools/texts.py."""
