"""The networks of face-api.js: 68 landmarks, seven expressions, age and gender."""
