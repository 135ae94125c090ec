package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCredentialsOfAServiceStandForVariables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"SECRET_ALICE": "in-a-file\n", "GIVEN": "not this", "EMPTY": "x\r\n", "master.key": "raw", "two_LINES": "a\nb\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	got, err := WithCredentials([]string{"CREDENTIALS_DIRECTORY=" + dir, "GIVEN=this", "EMPTY="})
	if err != nil {
		t.Fatal(err)
	}
	a := App{Environ: got}
	for name, want := range map[string]string{"SECRET_ALICE": "in-a-file", "GIVEN": "this", "EMPTY": "x", "two_LINES": "a\nb", "master.key": ""} {
		if value := a.Getenv(name); value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	plain := []string{"A=b"}
	if got, err := WithCredentials(plain); err != nil || !slices.Equal(got, plain) {
		t.Errorf("without credentials: %q, %v", got, err)
	}
}

// A service that cannot read its secrets must not start with others.
func TestCredentialsThatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "LONG"), []byte(strings.Repeat("x", maxCredential+1)), 0o400); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := WithCredentials([]string{"CREDENTIALS_DIRECTORY=" + dir}); err == nil {
			t.Errorf("%s: no error", dir)
		}
	}
}
