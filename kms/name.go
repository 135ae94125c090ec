package kms

import (
	"fmt"
	"strings"
)

// MaxKeyNameSize is the length of the longest key name, in bytes.
const MaxKeyNameSize = 80

// ValidateKeyName refuses what KES refuses: a name has 1 to 80 letters, digits,
// '_' and '-' of ASCII, neither begins nor ends with '-', and is not "_" alone.
// ErrInvalidKeyName.
func ValidateKeyName(name string) error {
	if !validName(name) {
		return fmt.Errorf("%.100q: %w", name, ErrInvalidKeyName)
	}
	return nil
}

// ValidateListPattern accepts "" and "*", which mean all keys, and otherwise a
// key name that may be followed by one '*'. What stands before the '*' is the
// prefix for ListKeys. ErrInvalidKeyName.
func ValidateListPattern(pattern string) error {
	prefix := strings.TrimSuffix(pattern, "*")
	if prefix != "" && !validName(prefix) {
		return fmt.Errorf("listing pattern %.100q: %w", pattern, ErrInvalidKeyName)
	}
	return nil
}

func validName(name string) bool {
	if name == "" || name == "_" || len(name) > MaxKeyNameSize {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '-' && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return true
}
