package trail_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
)

const sample = `{"seq":1,"chain":"ab","kind":"start","time":"2026-11-27T02:00:00.000000Z","prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"90c9e1f2a9f3ea2a6a1a90f3f9b4f6a4d1a0a4c7ac0ac7d1f8a3ef6e4ef4fb0b"}`

// What Parse takes for a line has the form that the log writes, and gives its bytes back.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(sample[:len(sample)-2] + `","mac":"00112233445566778899aabbccddeeff"}`))
	f.Add([]byte(`{"seq":1,"chain":"x","kind":"gap","lost":-1,"hash":""}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := trail.Parse(text)
		if err != nil {
			if !errors.Is(err, trail.ErrMalformed) || l != nil {
				t.Fatalf("%v beside %v", err, l)
			}
			return
		}
		if !bytes.HasPrefix(text, l.Body) || !json.Valid(text) || l.Seq == 0 || bytes.ContainsRune(text, '\x00') {
			t.Fatalf("%q was taken for a line", text)
		}
	})
}

// However a file looks, verification ends and says what is wrong, or that nothing is signed.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(sample + "\n"))
	f.Add([]byte(sample + "\n" + sample + "\n"))
	f.Add([]byte("{}\n\n\n"))
	f.Add([]byte(`{"seq":18446744073709551615,"chain":"a","kind":"head","from":9,"to":3,"hash":"90c9e1f2a9f3ea2a6a1a90f3f9b4f6a4d1a0a4c7ac0ac7d1f8a3ef6e4ef4fb0b"}` + "\n" + sample))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		name := file.Name()
		defer os.Remove(name)
		_, _ = file.Write(data)
		file.Close()
		key := audit.NewKey(&[32]byte{1}, []byte("sealed"), "", 0)
		for _, o := range []trail.Options{
			{},
			{Trust: []ed25519.PublicKey{key.Public()}, Heads: bytes.Split(data, []byte("\n"))},
			{Open: func([]byte, string) (*audit.Key, error) { return key, nil }},
		} {
			r, err := trail.Verify([]string{name}, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Authentic {
				t.Fatalf("%q was signed by nobody, and is authentic", data)
			}
		}
		if _, _, err := trail.Search(t.Context(), []string{name}, trail.Query{Object: "x*"}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestALineThatIsTooLongIsFound(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, append(bytes.Repeat([]byte("x"), 5<<20), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := trail.Verify([]string{name}, trail.Options{})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Number != 1 {
		t.Errorf("%v %v", r, err)
	}
}
