package keycmd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
)

// ImportCommand is `bucketseal key import`.
func ImportCommand(a *cli.App) *cobra.Command {
	var cipher string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import NAME [FILE]",
		Short: "Store a key of your own as a KMS key",
		Long: `Reads 32 bytes in base64 from FILE or the standard input. A key is never an argument:
every user of the machine could read it there.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			algorithm, err := kms.ParseAlgorithm(cipher)
			if err != nil {
				return cli.Usage(fmt.Errorf("--cipher %q: %w; it may be AES256 or ChaCha20", cipher, err))
			}
			text, err := readInput(a, args[1:])
			if err != nil {
				return err
			}
			defer clear(text)
			secret := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
			defer clear(secret)
			n, err := base64.StdEncoding.Decode(secret, []byte(strings.TrimSpace(string(text))))
			if err != nil || n != kms.DEKSize {
				return errors.New("the input is not 32 bytes in base64")
			}
			key := [kms.DEKSize]byte(secret)
			defer clear(key[:])
			return WithKeys(a, cmd, true, func(ctx context.Context, keys kms.Service) error {
				if err := keys.ImportKey(ctx, args[0], key, algorithm); err != nil {
					return fmt.Errorf("import %q: %w", args[0], err)
				}
				return printKey(a, asJSON, "imported", args[0])
			})
		},
	}
	keyFlags(cmd)
	newStoreFlag(cmd)
	cmd.Flags().StringVar(&cipher, "cipher", kms.AES256.String(), "AES256 or ChaCha20")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func keyDEKCommand(a *cli.App) *cobra.Command {
	var encContext string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dek NAME",
		Short: "Generate a data key: print it and its ciphertext, in base64",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				dek, err := keys.GenerateDEK(ctx, args[0], []byte(encContext))
				if err != nil {
					return fmt.Errorf("%q: %w", args[0], err)
				}
				defer clear(dek.Plaintext[:])
				if asJSON {
					return a.PrintJSON(struct {
						Plaintext  []byte `json:"plaintext"`
						Ciphertext []byte `json:"ciphertext"`
					}{dek.Plaintext[:], dek.Ciphertext})
				}
				_, err = fmt.Fprintf(a.Stdout, "plaintext:  %s\nciphertext: %s\n",
					base64.StdEncoding.EncodeToString(dek.Plaintext[:]), base64.StdEncoding.EncodeToString(dek.Ciphertext))
				return err
			})
		},
	}
	keyFlags(cmd)
	contextFlag(cmd, &encContext)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func contextFlag(cmd *cobra.Command, v *string) {
	cmd.Flags().StringVar(v, "context", "", "encryption context, byte for byte; it is needed again to decrypt")
}

func keyEncryptCommand(a *cli.App) *cobra.Command {
	var encContext string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "encrypt NAME [FILE]",
		Short: "Encrypt up to 1 MB from FILE or the standard input; print base64",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			plaintext, err := readInput(a, args[1:])
			if err != nil {
				return err
			}
			defer clear(plaintext)
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				ciphertext, err := keys.Encrypt(ctx, args[0], plaintext, []byte(encContext))
				if err != nil {
					return fmt.Errorf("%q: %w", args[0], err)
				}
				if asJSON {
					return a.PrintJSON(struct {
						Ciphertext []byte `json:"ciphertext"`
					}{ciphertext})
				}
				_, err = fmt.Fprintln(a.Stdout, base64.StdEncoding.EncodeToString(ciphertext))
				return err
			})
		},
	}
	keyFlags(cmd)
	contextFlag(cmd, &encContext)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func keyDecryptCommand(a *cli.App) *cobra.Command {
	var encContext string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "decrypt NAME [FILE]",
		Short: "Decrypt base64 from FILE or the standard input; write the plaintext as it is",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(a, args[1:])
			if err != nil {
				return err
			}
			ciphertext, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				return errors.New("the input is not base64")
			}
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				plaintext, err := keys.Decrypt(ctx, args[0], ciphertext, []byte(encContext))
				if err != nil {
					return fmt.Errorf("%q: %w", args[0], err)
				}
				defer clear(plaintext)
				if asJSON {
					return a.PrintJSON(struct {
						Plaintext []byte `json:"plaintext"`
					}{plaintext})
				}
				_, err = a.Stdout.Write(plaintext)
				return err
			})
		},
	}
	keyFlags(cmd)
	contextFlag(cmd, &encContext)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
