"""What the numbered scripts are made of, one module a thing."""
