package cli

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// ReadPassphrase reads a passphrase, which is not shown. On a terminal it asks, twice if
// again; elsewhere it is the first line of the standard input.
func (a *App) ReadPassphrase(again bool) (string, error) {
	f, ok := a.Stdin.(*os.File)
	if !ok || !IsTerminal(a.Stdin) {
		line, err := ReadLine(a.Stdin)
		if err != nil {
			return "", fmt.Errorf("read the passphrase, the first line of the standard input: %w", err)
		}
		return checkPassphrase(line)
	}
	first, err := a.ask(f, "Passphrase: ")
	if err != nil || !again {
		return first, err
	}
	second, err := a.ask(f, "Once more: ")
	if err == nil && first != second {
		return "", errors.New("these are two passphrases")
	}
	return second, err
}

func (a *App) ask(terminal *os.File, question string) (string, error) {
	fmt.Fprint(a.Stderr, question)
	line, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(a.Stderr)
	if err != nil {
		return "", err
	}
	defer clear(line)
	return checkPassphrase(string(line))
}

func checkPassphrase(text string) (string, error) {
	if text == "" {
		return "", errors.New("the passphrase is empty")
	}
	return text, nil
}
