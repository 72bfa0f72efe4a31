"""Tests of the web page, over real requests to the real flow."""
