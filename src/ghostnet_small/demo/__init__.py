"""A page that runs a network in the browser: its files, the server, and the page itself."""
