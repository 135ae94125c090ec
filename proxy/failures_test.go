package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// What a client is told to be damaged, operators see counted, and nothing else.
func TestDamageIsCountedByKind(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]intake.Failure{
		sse.ErrTampered: "data", sse.ErrTruncated: "truncated", sse.ErrRecord: "record", vault.ErrNoManifest: "manifest",
		system.ErrTampered: "system_object", pins.ErrDamaged: "system_object", storage.ErrLied: "answer", kms.ErrDecrypt: "dek", kms.ErrCorruptKey: "kms_key",
		kms.ErrKeyReplaced: "key_replaced", vault.ErrPlainObject: intake.PlainObject, keyring.Tampered(kms.ErrUnavailable): "data",
		kms.ErrUnavailable: "", kms.ErrKeyNotFound: "", storage.ErrUnreachable: "", vault.ErrKeyAccess: "", context.Canceled: "", sse.ErrWrongKey: "",
	} {
		wrapped := fmt.Errorf("while reading: %w", err)
		if got := failureOf(wrapped); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
		if e := s3api.Describe(wrapped); strings.Contains(e.Message, "damaged") && want == "" {
			t.Errorf("%v is told to be damage, and not counted", err)
		}
	}
	if n := len(failures()); n != len(failureTable())-1 {
		t.Errorf("%d kinds of damage", n)
	}
	if failureOf(errors.New("another")) != "" {
		t.Error("any error is damage")
	}
}
