package listing_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
)

// failingKMS opens nothing once err is set.
type failingKMS struct {
	kms.Service
	err error
}

// DecryptDEK implements kms.Service.
func (f *failingKMS) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	if f.err != nil {
		return [kms.DEKSize]byte{}, f.err
	}
	return f.Service.DecryptDEK(ctx, name, ciphertext, encContext)
}

func unescaped(t testing.TB, text string) string {
	t.Helper()
	raw, err := url.QueryUnescape(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
