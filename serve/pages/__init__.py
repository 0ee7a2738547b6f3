"""What the demo page and the rater page share: texts in two languages, style, sign-in, and the server around Gradio."""
