"""What a person runs beside the pipeline."""
