"""Doctor: looks at a set-up from outside and says what is wrong with it and how to mend it. Reads; changes nothing."""
