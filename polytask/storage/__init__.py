"""Files, folders and objects: written whole or not at all, checked by checksum."""
