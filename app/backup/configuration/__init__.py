"""The backup of a namespace's configuration: what is read, how it is cleaned, encrypted and stored, and how a person puts it back."""
