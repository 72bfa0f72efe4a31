"""The live stack: real servers on loopback that the integration tests run against."""
