package s3api

import (
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/sse"
)

func TestRefusedKeysHaveTheModesOwnError(t *testing.T) {
	t.Parallel()
	identities := testIdentities(t, identity.Rule{})
	keys := keyring.New(keyring.Options{Rights: identities, DefaultKey: "default", S3Key: "s3"})
	app, err := identities.Lookup(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	c := intake.Caller{AccessKey: "app", Identity: app}
	for mode, want := range map[sse.Mode]string{sse.ModeS3: "AccessDenied", sse.ModeC: "AccessDenied", sse.ModeKMS: "kms:NotAuthorized"} {
		_, open := keys.MayOpen(t.Context(), c.Keys(), "bucket", sse.Encryption{Mode: mode})
		for what, err := range map[string]error{
			"write": keys.MayWrite(t.Context(), c.Keys(), "bucket", &sse.Request{Mode: mode}), "open": open,
		} {
			if answer := Describe(err); err == nil || answer.Code != want || answer.Status != 403 {
				t.Errorf("%s with %v: %v", what, mode, err)
			}
		}
	}
}
