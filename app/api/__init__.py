"""Stage 7: HTTP: routes, request bodies, event streams, errors in the shape of OpenAI."""
