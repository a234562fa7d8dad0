"""Files of pictures: what is whole, which of their pictures is meant, and which colours their numbers are."""
