"""The rest of OpenAI's API, which the upstream answers: embeddings, moderations, audio, images, older completions."""
