"""Measurements that print a table; never tests."""
