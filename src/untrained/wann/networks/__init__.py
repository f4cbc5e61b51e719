"""Networks of shared weights as data: run, stored, drawn and exported."""
