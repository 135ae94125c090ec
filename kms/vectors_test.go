package kms

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"testing"
	"time"
)

// vectors are made by testdata/make_vectors.py, which shares no code with this
// package.
type vectors struct {
	Records []struct {
		Name, Record string
		Error        bool
		Algorithm    string
		Version      uint32
		CreatedAt    time.Time
		CreatedBy    string
		HMAC         bool
		Rewritten    bool
	}
	Ciphertexts []struct {
		Name, Key  string
		Context    []byte
		Ciphertext []byte
		Plaintext  *[]byte
	}
	Logs []struct {
		Name               string
		Entries            map[string]string
		States             []VersionState
		Context, Plaintext []byte
		Ciphertexts        [][]byte
	}
	Contexts []struct {
		Members   Context
		Canonical string
	}
	HMACs []struct {
		Key     string
		Message []byte
		HMAC    []byte
	}
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(vectors)
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) == 0 || len(v.Ciphertexts) == 0 || len(v.Contexts) == 0 || len(v.HMACs) == 0 || len(v.Logs) == 0 {
		t.Fatal("vectors.json lacks vectors")
	}
	return v
}

func mustParseRecord(t testing.TB, record string) *Key {
	t.Helper()
	k, err := ParseRecord([]byte(record))
	if err != nil {
		t.Fatalf("ParseRecord(%q): %v", record, err)
	}
	return k
}

func TestRecordsOfKESAndOursAreRead(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Records {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			k, err := ParseRecord([]byte(v.Record))
			if v.Error {
				if !errors.Is(err, ErrCorruptKey) {
					t.Fatalf("ParseRecord: %v, want ErrCorruptKey", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info := k.Info("name")
			if info.Name != "name" || info.Algorithm.String() != v.Algorithm || info.Version != v.Version ||
				!info.CreatedAt.Equal(v.CreatedAt) || info.CreatedBy != v.CreatedBy {
				t.Errorf("Info = %+v, want %+v", info, v)
			}
			if _, err := k.HMAC(nil); (err == nil) != v.HMAC || err != nil && !errors.Is(err, ErrNotSupported) {
				t.Errorf("HMAC: %v, want one: %t", err, v.HMAC)
			}
			if got := string(k.MarshalRecord()); v.Rewritten && got != v.Record {
				t.Errorf("written again:\n got %s\nwant %s", got, v.Record)
			}
		})
	}
}

func TestCiphertextsOfKESAndOursAreOpened(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Ciphertexts {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			before := bytes.Clone(v.Ciphertext)
			plaintext, err := mustParseRecord(t, v.Key).Decrypt(v.Ciphertext, v.Context)
			switch {
			case v.Plaintext == nil && !errors.Is(err, ErrDecrypt):
				t.Errorf("Decrypt: %v, want ErrDecrypt", err)
			case v.Plaintext != nil && (err != nil || !bytes.Equal(plaintext, *v.Plaintext)):
				t.Errorf("Decrypt = %x, %v; want %x", plaintext, err, *v.Plaintext)
			}
			if !bytes.Equal(before, v.Ciphertext) {
				t.Error("Decrypt changed the ciphertext")
			}
		})
	}
}

func TestStoresOfKeysWithALogAreRead(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Logs {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			store := newFakeStore()
			for entry, value := range v.Entries {
				if err := store.Create(t.Context(), entry, []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
			l := newTestLocal(t, LocalOptions{Store: store})
			versions, err := l.KeyVersions(t.Context(), "key")
			if len(v.States) == 0 {
				if !errors.Is(err, ErrCorruptKey) && !errors.Is(err, ErrKeyNotFound) {
					t.Errorf("KeyVersions: %+v, %v", versions, err)
				}
				return
			}
			if err != nil || len(versions) != len(v.States) {
				t.Fatalf("KeyVersions: %+v, %v", versions, err)
			}
			want := map[VersionState]error{VersionRetired: ErrVersionRetired, VersionDoomed: ErrVersionRetired, VersionDestroyed: ErrVersionDestroyed}
			for i, state := range v.States {
				if versions[i].State != state {
					t.Errorf("version %d is %v, want %v", i+1, versions[i].State, state)
				}
				got, err := l.Decrypt(t.Context(), "key", v.Ciphertexts[i], v.Context)
				if !errors.Is(err, want[state]) || err == nil && !bytes.Equal(got, v.Plaintext) {
					t.Errorf("version %d: %x, %v", i+1, got, err)
				}
			}
			if _, err := l.HMAC(t.Context(), "key", nil); err != nil {
				t.Errorf("HMAC: %v", err)
			}
		})
	}
}

func TestHMACIsTheOneOfTheKeysHMACKey(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).HMACs {
		if got, err := mustParseRecord(t, v.Key).HMAC(v.Message); err != nil || !bytes.Equal(got, v.HMAC) {
			t.Errorf("HMAC = %x, %v; want %x", got, err, v.HMAC)
		}
	}
}

func TestCanonicalContextIsWhatMinIOSends(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Contexts {
		got := v.Members.Canonical()
		if string(got) != v.Canonical {
			t.Errorf("Canonical(%q) = %s, want %s", v.Members, got, v.Canonical)
		}
		again, err := ParseContext(got)
		if err != nil || !maps.Equal(again, v.Members) {
			t.Errorf("ParseContext(%s) = %q, %v", got, again, err)
		}
	}
}

func TestExamplesOfTheFormatPageAreVectors(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{"AES256": "", "ChaCha20": "", "version 2": "", "record": ""}
	for _, log := range readVectors(t).Logs {
		if log.Name == "destroyed" {
			for entry, value := range log.Entries {
				wanted[entry] = value
			}
		}
	}
	v := readVectors(t)
	for _, c := range v.Ciphertexts {
		if _, ok := wanted[c.Name]; ok {
			wanted[c.Name] = hex.EncodeToString(c.Ciphertext)
		}
	}
	for _, r := range v.Records {
		if r.Name == "AES256" {
			wanted["record"] = r.Record
		}
	}
	for name, example := range wanted {
		if example == "" || !bytes.Contains(page, []byte("\n    "+example+"\n")) {
			t.Errorf("docs/keys.md lacks the vector %q: %s", name, example)
		}
	}
}
