package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxCredential is the most that a credential may hold, in bytes.
const maxCredential = 64 << 10

// errLongCredential is a file that cannot be what a variable stands for.
var errLongCredential = errors.New("more than 64 KiB")

// WithCredentials adds what systemd gives to a service as credentials (LoadCredential=): a
// file in $CREDENTIALS_DIRECTORY whose name is that of a variable stands for that
// variable, unless it has a value. The line break at the end does not count. Files of
// other names are left to settings that name files.
func WithCredentials(environ []string) ([]string, error) {
	a := App{Environ: environ}
	dir := a.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return environ, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("CREDENTIALS_DIRECTORY: %w", err)
	}
	variable := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	for _, entry := range entries {
		name := entry.Name()
		if !entry.Type().IsRegular() || !variable.MatchString(name) || a.Getenv(name) != "" {
			continue
		}
		value, err := readCredential(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", name, err)
		}
		a.Environ = append(a.Environ[:len(a.Environ):len(a.Environ)], name+"="+value)
	}
	return a.Environ, nil
}

func readCredential(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	value, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err != nil {
		return "", err
	}
	if len(value) > maxCredential {
		return "", errLongCredential
	}
	text := strings.TrimSuffix(string(value), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}
