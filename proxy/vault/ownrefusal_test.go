package vault_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// What the storage refuses the proxy itself is no refusal of the client, whose access key is fine.
func TestRefusalsOfTheProxysOwnCredential(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{
		"InvalidAccessKeyId": system.ErrOwnCredential, "SignatureDoesNotMatch": system.ErrOwnCredential, "AccessDenied": system.ErrOwnRights, "": system.ErrOwnRights,
	} {
		refuse := func(ops ...memory.Op) func(*memory.Call) error {
			return func(c *memory.Call) error {
				for _, op := range ops {
					if c.Own && c.Op == op && c.Name.Bucket == vaulttest.Bucket {
						return &storage.Error{Status: http.StatusForbidden, Code: code}
					}
				}
				return nil
			}
		}
		check := func(what string, err error) {
			t.Helper()
			wantError(t, what, err, want)
			if got := s3api.Describe(err); got == nil || got.Status != http.StatusServiceUnavailable || !s3api.Own(err) {
				t.Errorf("%s, %s: the client is told %v", what, code, got)
			}
			var answer *storage.Error
			if !errors.As(err, &answer) || answer.Code != code {
				t.Errorf("%s, %s: the log is told %v", what, code, err)
			}
		}
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		part := u.part(1, []byte("data"))

		i.Storage.SetRights(refuse(memory.ListParts))
		_, err := u.tryComplete(part)
		check("Complete", err)
		i.Storage.SetRights(refuse(memory.Head))
		complete := &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}}
		complete.Conditions.IfMatch = `"x"`
		_, err = u.engine.Complete(t.Context(), u.caller, complete)
		check("Complete on a condition", err)
		i.Storage.SetRights(nil)
		u.complete(part)
		u.awaitDrop(i)
		i.Storage.SetRights(refuse(memory.Head))
		_, err = u.tryComplete(part)
		check("a Complete that is done", err)

		k := newWriteKit(t)
		k.at.Storage.SetRights(refuse(memory.Head))
		_, err = k.put("k", []byte("data"), sse.ModeS3, func(p *vault.Put) { p.Conditions.IfMatch = `"x"` })
		check("Put on a condition", err)
	}
}
