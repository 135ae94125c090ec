package keycmd

import (
	"fmt"
	"io"
	"os"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

// MaxInput bounds what is read to be encrypted or decrypted, in bytes: KES's
// limit, in base64, and a line break.
const MaxInput = 1_400_000

// readInput reads the file that args may name; "-" and none are the standard
// input. Secrets come this way and never as arguments, which /proc shows to all.
func readInput(a *cli.App, args []string) ([]byte, error) {
	in := a.Stdin
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("%w (give a file; \"-\" is the standard input)", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, MaxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxInput {
		return nil, fmt.Errorf("the input is longer than %d bytes", MaxInput)
	}
	return data, nil
}
