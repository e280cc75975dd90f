"""The PCS documentation of a study, from its board, records, the cards of its data and a person's words."""
