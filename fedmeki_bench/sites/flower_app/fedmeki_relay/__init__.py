"""Two relays, one at the server and one at each site: bytes in at a socket, bytes out through Flower, and back."""
