package vault_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

var nobody = vaulttest.Caller("")

func TestAttributesAreThoseOfThePlaintext(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 50)
	somebody := vaulttest.Caller("somebody")
	for _, mode := range modes {
		r := newReads(t)
		r.put(t, vaulttest.Name("stream"), mode, data)
		r.put(t, vaulttest.Name("parts"), mode, data, sizesOfParts...)
		for _, key := range []string{"stream", "parts"} {
			g := of(vaulttest.Name(key), mode)
			g.Checksum = true
			a, err := r.Attributes(t.Context(), somebody, g.Read)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if o := r.wantRead(t, key, g, data); a.ETag != o.ETag || a.Size != int64(len(data)) || !a.Modified.Equal(o.Modified) || a.Facts.Checksum == nil {
				t.Errorf("%v %s: %+v", mode, key, a.Seen)
			}
			parts, err := a.ObjectParts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if key == "stream" {
				if len(parts) != 1 || parts[0].Number != 1 || parts[0].Size != int64(len(data)) || parts[0].Checksums != nil {
					t.Errorf("%v: the only part: %+v", mode, parts)
				}
				continue
			}
			for i, part := range parts {
				want := base64.StdEncoding.EncodeToString(vaulttest.Data(4, uint64(i)))
				if part.Number != 2*i+1 || part.Size != int64(sizesOfParts[i]) || part.Checksums["CRC32C"] != want {
					t.Errorf("%v: part %d: %+v", mode, i, part)
				}
			}
		}
	}
}

func TestAttributesAreRefusedAsReadsAre(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	somebody := vaulttest.Caller("somebody")
	for _, layout := range [][]int{nil, {4, 6}} {
		r.put(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(10, 51), layout...)
		read := vault.Read{Name: vaulttest.Name("k"), Conditions: conditions.Read{IfMatch: `"other"`}}
		var failed *conditions.Error
		if _, err := r.Attributes(t.Context(), somebody, read); !errors.As(err, &failed) || !errors.Is(err, conditions.ErrPrecondition) {
			t.Errorf("If-Match: %v", err)
		}
		if _, err := r.Attributes(t.Context(), nobody, read); !errors.Is(err, keyring.ErrAccess) {
			t.Errorf("without a signature: %v", err)
		}
		read.Customer = &sse.Secret{1}
		if _, err := r.Attributes(t.Context(), somebody, read); !errors.Is(err, keyring.ErrNoCustomerKey) {
			t.Errorf("with a key that it does not need: %v", err)
		}
	}
}

func TestAttributesOfPlainObjectsAreTheStorages(t *testing.T) {
	t.Parallel()
	r := plainReads(t, vaulttest.Data(100, 52), 60, 40)
	a, err := r.Attributes(t.Context(), nobody, vault.Read{Name: plainName})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	parts, err := a.ObjectParts(t.Context())
	if err != nil || a.Size != 100 || a.Record != nil || len(parts) != 2 || parts[1].Size != 40 {
		t.Errorf("%+v, %+v, %v", a.Seen, parts, err)
	}
	if _, err := r.Attributes(t.Context(), nobody, vault.Read{Name: plainName, Customer: &sse.Secret{1}}); !errors.Is(err, vault.ErrCustomerKeyUnused) {
		t.Errorf("with a key: %v", err)
	}
}
