package kms

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every type with a secret prints as, whatever the verb: fmt
// would otherwise print the bytes of arrays in unexported fields.
const redacted = "[redacted]"

// Format hides the key.
func (DEK) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON hides the key.
func (DEK) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the key.
func (DEK) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format hides the secrets.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON hides the secrets.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the secrets.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }
