"""What a person reads and answers: lines, tables, questions, progress, messages. The only writer to stdout."""
