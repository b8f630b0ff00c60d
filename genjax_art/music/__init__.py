"""Music as data: notes, tokens, MIDI files and voices; what data, media, models and measures share."""
