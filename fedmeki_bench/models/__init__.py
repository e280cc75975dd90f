"""The light models clients train: encoders per modality, decoders per task, and the flat buffer beneath them."""
