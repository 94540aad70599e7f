"""HTTP: middleware, parsing, authentication, errors and OpenAPI."""
