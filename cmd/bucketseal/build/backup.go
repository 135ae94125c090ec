package build

import (
	"errors"
	"fmt"
	"os"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/keybackup"
)

// BackupSource is who opens a key backup, as flags say it.
type BackupSource struct {
	// Identities are files with age identities.
	Identities []string
	// Passphrase says that one is asked for.
	Passphrase bool
}

// maxWorkFactor bounds what a file may ask for: 1 GiB of memory. age itself writes 18.
const maxWorkFactor = 20

// Flags adds the flags.
func (s *BackupSource) Flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&s.Identities, "identity", "i", nil, "file with age identities that open the key backup (repeatable)")
	cmd.Flags().BoolVarP(&s.Passphrase, "passphrase", "p", false, "the key backup has a passphrase, asked for, or the first line of the standard input")
	_ = cmd.MarkFlagFilename("identity")
	cmd.MarkFlagsMutuallyExclusive("identity", "passphrase")
}

// Open reads a key backup whole, which the caller zeroes.
func (s *BackupSource) Open(a *cli.App, name string) (*keybackup.Backup, error) {
	identities, err := s.read(a)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := keybackup.Read(f, identities...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func (s *BackupSource) read(a *cli.App) ([]age.Identity, error) {
	if s.Passphrase {
		text, err := a.ReadPassphrase(false)
		if err != nil {
			return nil, err
		}
		identity, err := age.NewScryptIdentity(text)
		if err != nil {
			return nil, err
		}
		identity.SetMaxWorkFactor(maxWorkFactor)
		return []age.Identity{identity}, nil
	}
	var all []age.Identity
	for _, name := range s.Identities {
		some, err := readIdentities(name)
		if err != nil {
			return nil, fmt.Errorf("identity %s: %w", name, err)
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, cli.Usage(errors.New("what opens the key backup? Give --identity FILE or --passphrase"))
	}
	return all, nil
}

func readIdentities(name string) ([]age.Identity, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return age.ParseIdentities(f)
}
