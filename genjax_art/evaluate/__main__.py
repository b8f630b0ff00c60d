from genjax_art import interrupts

if __name__ == "__main__":
    from genjax_art.evaluate import evaluate

    interrupts.main(evaluate)
