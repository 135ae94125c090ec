package keybackup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Write encrypts a backup to all of the recipients: any of their identities opens it. The
// unencrypted file is in memory only. ErrDamaged for entries that Read would refuse.
func (b *Backup) Write(dst io.Writer, recipients ...age.Recipient) error {
	plain, err := b.encode()
	if err != nil {
		return fmt.Errorf("key backup: %w", err)
	}
	defer clear(plain)
	back, err := decode(bytes.NewReader(plain))
	if err != nil { // what is written can be read
		return fmt.Errorf("key backup: a store's entries do not make one: %w", err)
	}
	back.Zero()
	w, err := age.Encrypt(dst, recipients...)
	if err != nil {
		return fmt.Errorf("encrypt the key backup: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return fmt.Errorf("encrypt the key backup: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("encrypt the key backup: %w", err)
	}
	return nil
}

// Read opens a backup, armored or not, and checks all of it. It says nothing of who made it:
// whoever knows a recipient can encrypt to it. ErrIdentity, ErrDamaged.
func Read(src io.Reader, identities ...age.Identity) (*Backup, error) {
	in := bufio.NewReader(src)
	begin, err := in.Peek(len(armor.Header))
	if err != nil && err != io.EOF {
		return nil, err
	}
	var file io.Reader = in
	if string(begin) == armor.Header {
		file = armor.NewReader(in)
	}
	plain, err := age.Decrypt(file, identities...)
	if err != nil {
		return nil, explain(err)
	}
	return decode(plain)
}

// explain says what is wrong with a file or with who opens it.
func explain(err error) error {
	other, ok := errors.AsType[*age.NoIdentityMatchError](err)
	switch {
	case !ok:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case slices.Contains(other.StanzaTypes, "scrypt"):
		return fmt.Errorf("%w: it is encrypted with a passphrase, and not with this one", ErrIdentity)
	default:
		return fmt.Errorf("%w: it has %d recipients, and none is its own", ErrIdentity, len(other.StanzaTypes))
	}
}
