"""A network on a page that runs it in the browser: its files, the server, and the page itself."""
