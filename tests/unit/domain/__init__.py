"""Tests of the vocabulary and its rules."""
