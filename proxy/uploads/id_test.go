package uploads

import (
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// An upload id is read as it was written, and nothing else is one.
func FuzzID(f *testing.F) {
	for _, id := range []ID{
		{Upstream: "abc-_.~=+"},
		{"a.b", sse.ManifestID{1, 2}, storage.Encryption{Mode: sse.ModeS3}},
		{"a", sse.ManifestID{255}, storage.Encryption{Mode: sse.ModeKMS, KMSKey: "key"}},
		{strings.Repeat("x", maxUpstreamID), sse.ManifestID{}, storage.Encryption{Mode: sse.ModeC}},
	} {
		f.Add(id.String())
		if got, err := ParseID(id.String()); err != nil || got != id {
			f.Errorf("%+v is read as %+v, %v", id, got, err)
		}
	}
	for _, text := range []string{
		"", ".", "a", "a.", ".AAAA", "a/b.AAAAAAAAAAAAAAAAAAAAAAA", "a.AAAAAAAAAAAAAAAAAAAAAA", "a.AAAAAAAAAAAAAAAAAAAAAAB",
		ID{Upstream: strings.Repeat("x", maxUpstreamID+1)}.String(), ID{Upstream: "a b"}.String(),
		ID{"a", sse.ManifestID{}, storage.Encryption{Mode: sse.ModeS3, KMSKey: "key"}}.String(),
		ID{"a", sse.ManifestID{}, storage.Encryption{Mode: sse.ModeKMS, KMSKey: strings.Repeat("k", maxHintedKey+1)}}.String(),
	} {
		f.Add(text)
		if u, err := ParseID(text); !errors.Is(err, manifest.ErrNoSuchUpload) || u != (ID{}) {
			f.Errorf("%q is read as %+v, %v", text, u, err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseID(text)
		if err != nil {
			return
		}
		if again, err := ParseID(u.String()); err != nil || again != u {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, u, again, err)
		}
		if strings.ContainsAny(u.Upstream, "/\x00\n") {
			t.Errorf("%q names an upload %q", text, u.Upstream)
		}
	})
}
