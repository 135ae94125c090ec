package fs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/keystoretest"
)

var testMaster = MasterKey(bytes.Repeat([]byte{0xAB}, 32))

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, MasterKey: testMaster})
	noErr(t, "Open", err)
	return s
}

func openPlainTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenPlain(dir)
	noErr(t, "OpenPlain", err)
	return s
}

func noErr(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		keystoretest.Run(t, func(t *testing.T) kms.Store { return openTest(t, t.TempDir()) })
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		keystoretest.Run(t, func(t *testing.T) kms.Store { return openPlainTest(t, t.TempDir()) })
	})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for what, open := range map[string]func() (*Store, error){
		"no master key":         func() (*Store, error) { return Open(Options{Dir: t.TempDir()}) },
		"no folder":             func() (*Store, error) { return Open(Options{MasterKey: testMaster}) },
		"no folder, plain":      func() (*Store, error) { return OpenPlain("") },
		"a file for the folder": func() (*Store, error) { return OpenPlain(os.Args[0]) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}

func TestLongValuesFit(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	value := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	noErr(t, "Create", s.Create(t.Context(), "key", value))
	if got, err := s.Get(t.Context(), "key"); err != nil || !bytes.Equal(got, value) {
		t.Errorf("Get: %d bytes, %v", len(got), err)
	}
}

func TestNothingReadableLiesOnDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by", "open")
	s := openTest(t, dir)
	l, err := kms.NewLocal(kms.LocalOptions{Store: s})
	noErr(t, "NewLocal", err)
	defer l.Close()
	secret := [32]byte(bytes.Repeat([]byte{0x5A, 0xC3}, 16))
	noErr(t, "ImportKey", l.ImportKey(t.Context(), "key", secret, kms.AES256))

	info, err := os.Stat(dir)
	noErr(t, "Stat", err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v", info.Mode())
	}
	entries, err := os.ReadDir(dir)
	noErr(t, "ReadDir", err)
	if len(entries) != 1 {
		t.Errorf("%d files for one key", len(entries))
	}
	record, err := s.Get(t.Context(), "key")
	noErr(t, "Get", err)
	for _, e := range entries {
		info, err := e.Info()
		noErr(t, "Info", err)
		if info.Mode() != 0o600 {
			t.Errorf("the mode of %s is %v", e.Name(), info.Mode())
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		noErr(t, "ReadFile", err)
		for what, forbidden := range map[string][]byte{
			"the secret": secret[:8], "its base64": []byte(base64.StdEncoding.EncodeToString(secret[:])[:8]), "a piece of the record": record[8:16],
		} {
			if bytes.Contains(content, forbidden) {
				t.Errorf("%s holds %s", e.Name(), what)
			}
		}
	}
}

func TestAlteredFilesAreCorrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	noErr(t, "Create", s.Create(t.Context(), "key", []byte("value")))
	noErr(t, "Create", s.Create(t.Context(), "other", []byte("value")))
	path := s.path("key")
	good, err := os.ReadFile(path)
	noErr(t, "ReadFile", err)
	other, err := os.ReadFile(s.path("other"))
	noErr(t, "ReadFile", err)

	check := func(what string, content []byte) {
		t.Helper()
		noErr(t, "WriteFile", os.WriteFile(path, content, 0o600))
		value, err := s.Get(t.Context(), "key")
		wantErr(t, what, err, kms.ErrCorruptKey)
		if value != nil {
			t.Errorf("%s: Get returned %q beside the error", what, value)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error does not name the file: %v", what, err)
		}
	}
	for i := range good {
		altered := bytes.Clone(good)
		altered[i] ^= 1
		check("a bit flipped", altered)
		check("cut", good[:i])
	}
	check("longer", append(bytes.Clone(good), 0))
	check("another key's file", other)
	check("huge", make([]byte, maxFileSize+1))

	noErr(t, "WriteFile", os.WriteFile(path, good, 0o600))
	if value, err := s.Get(t.Context(), "key"); err != nil || string(value) != "value" {
		t.Errorf("Get of the file as it was: %q, %v", value, err)
	}
}

func TestWrongMasterKeyIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	noErr(t, "Create", s.Create(t.Context(), "key", []byte("value")))
	if _, err := Open(Options{Dir: dir, MasterKey: MasterKey{1}}); !errors.Is(err, ErrOtherMasterKey) {
		t.Errorf("Open: %v", err)
	}
	// It may be exchanged under a running process.
	wrong := &Store{dir: dir, layout: &sealedLayout{master: MasterKey{1}}}
	_, err := wrong.Get(t.Context(), "key")
	wantErr(t, "Get", err, kms.ErrCorruptKey)
	if err == nil || !strings.Contains(err.Error(), s.path("key")) || !strings.Contains(err.Error(), "master key does not fit") {
		t.Errorf("error: %v", err)
	}
	wantErr(t, "Create over it", wrong.Create(t.Context(), "key", []byte("new")), kms.ErrKeyExists)
}

func TestFilesThatAreNoKeysAreIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, dir)
	noErr(t, "Create", s.Create(t.Context(), "Key", []byte("value")))
	for _, name := range []string{
		"README", "x.key.bak", "=A.key", "a=.key", "a=1.key", ".key", "_.key", "-a.key", "A.key", "a b.key", "ä.key", tempPrefix + "123", "x.KEY",
	} {
		noErr(t, "WriteFile", os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	noErr(t, "Mkdir", os.Mkdir(filepath.Join(dir, "folder.key"), 0o700))
	if names, err := s.List(t.Context(), ""); err != nil || !slices.Equal(names, []string{"Key"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	_, err := s.Get(t.Context(), "folder")
	wantErr(t, "Get of a folder", err, kms.ErrCorruptKey)
}

func TestFileNamesDifferWhereKeyNamesDo(t *testing.T) {
	t.Parallel()
	l := &sealedLayout{}
	seen := map[string]string{}
	for _, name := range []string{"key", "Key", "KEY", "kEy", "k-e-y", "k_e_y", "a", "A", "aA", "Aa", strings.Repeat("Z", kms.MaxKeyNameSize)} {
		file := l.file(name)
		if file != strings.ToLower(file) || len(file) > 255 || strings.ContainsAny(file, `/\:*?"<>|`) {
			t.Errorf("file of %q: %q", name, file)
		}
		if other, ok := seen[file]; ok {
			t.Errorf("%q and %q share the file %q", name, other, file)
		}
		seen[file] = name
		if back, ok := l.key(file); !ok || back != name {
			t.Errorf("key of %q = %q, %t", file, back, ok)
		}
	}
}

func TestLeftoversOfCrashesAreRemovedWhenOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, young := filepath.Join(dir, tempPrefix+"old"), filepath.Join(dir, tempPrefix+"young")
	for _, path := range []string{old, young} {
		noErr(t, "WriteFile", os.WriteFile(path, []byte("half a key"), 0o600))
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	noErr(t, "Chtimes", os.Chtimes(old, yesterday, yesterday))
	s := openTest(t, dir)
	if names, err := s.List(t.Context(), ""); err != nil || len(names) != 0 {
		t.Errorf("List = %q, %v", names, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old left-over is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the file of a process that may be running was removed: %v", err)
	}
}

func TestMissingFolderIsAnOutageAndNoMissingKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	s := openTest(t, dir)
	noErr(t, "RemoveAll", os.RemoveAll(dir))
	ctx := context.Background()
	errs := map[string]error{"Create": s.Create(ctx, "key", []byte("v")), "Delete": s.Delete(ctx, "key")}
	_, errs["Get"] = s.Get(ctx, "key")
	_, errs["List"] = s.List(ctx, "")
	_, errs["Status"] = s.Status(ctx)
	_, errs["Stamp"] = s.Stamp("key")
	for what, err := range errs {
		wantErr(t, what, err, kms.ErrUnavailable)
	}
}

func TestFolderWithoutPermissionIsNotPermitted(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("the superuser may do everything")
	}
	dir := t.TempDir()
	s := openTest(t, dir)
	noErr(t, "Chmod", os.Chmod(dir, 0))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	_, err := s.List(t.Context(), "")
	wantErr(t, "List", err, kms.ErrNotPermitted)
	wantErr(t, "Create", s.Create(t.Context(), "key", []byte("v")), kms.ErrNotPermitted)
}

func TestPermissionErrorsKeepTheirSentinel(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	err := s.sentinel("key", &os.PathError{Op: "open", Path: "x", Err: os.ErrPermission})
	wantErr(t, "permission", err, kms.ErrNotPermitted)
	wantErr(t, "read-only", s.sentinel("key", &os.PathError{Op: "open", Path: "x", Err: syscall.EROFS}), kms.ErrNotPermitted)
	wantErr(t, "anything else", s.sentinel("key", errors.New("disk on fire")), kms.ErrUnavailable)
}

func TestNamesCannotLeaveTheFolder(t *testing.T) {
	t.Parallel()
	for _, s := range []*Store{openTest(t, t.TempDir()), openPlainTest(t, t.TempDir())} {
		for _, name := range []string{"../x", "/etc/passwd", "a/b", "", "."} {
			wantErr(t, "Create", s.Create(t.Context(), name, nil), kms.ErrInvalidKeyName)
			wantErr(t, "Delete", s.Delete(t.Context(), name), kms.ErrInvalidKeyName)
			_, err := s.Get(t.Context(), name)
			wantErr(t, "Get", err, kms.ErrInvalidKeyName)
			_, err = s.Stamp(name)
			wantErr(t, "Stamp", err, kms.ErrInvalidKeyName)
		}
	}
}

// The file is one that KES v0.22.3 wrote.
func TestPlainFolderIsThatOfKES(t *testing.T) {
	t.Parallel()
	const (
		record     = `{"version":"v1","bytes":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","created_at":"2026-11-23T21:46:21.430123983Z","created_by":"2441c0d39fe0b60081cfa5f4a8ef1fcd6a00f1e7d7036d16cc6f2ce1df70dbbc"}`
		ciphertext = "lbFBRVMyNTYtR0NNX1NIQTI1NtkgNjMwZGNkMjk2NmM0MzM2NjkxMTI1NDQ4YmJiMjViNGbEEHJqmdTeDocyPxZNY9arMOLEDHjhJS/Q4kQZDusY7MQVo2iMQSYjwz0Ct6JPeR3lU0hlfzGc"
	)
	dir := t.TempDir()
	noErr(t, "WriteFile", os.WriteFile(filepath.Join(dir, "Seq"), []byte(record), 0o600))
	noErr(t, "Symlink", os.Symlink("Seq", filepath.Join(dir, "mounted")))
	s := openPlainTest(t, dir)
	l, err := kms.NewLocal(kms.LocalOptions{Store: s})
	noErr(t, "NewLocal", err)
	defer l.Close()
	sealed, err := base64.StdEncoding.DecodeString(ciphertext)
	noErr(t, "base64", err)
	for _, name := range []string{"Seq", "mounted"} {
		if got, err := l.Decrypt(t.Context(), name, sealed, nil); err != nil || string(got) != "hello" {
			t.Errorf("Decrypt under %s: %q, %v", name, got, err)
		}
	}
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "new"))
	if names, err := s.List(t.Context(), ""); err != nil || !slices.Equal(names, []string{"Seq", "mounted", "new"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	value, err := s.Get(t.Context(), "new")
	noErr(t, "Get", err)
	content, err := os.ReadFile(filepath.Join(dir, "new"))
	noErr(t, "ReadFile", err)
	if _, err := base64.StdEncoding.DecodeString(string(content)); err != nil || !bytes.Equal(value, content) {
		t.Errorf("the file holds %q, not KES's base64: %v", content, err)
	}
}

func BenchmarkStamp(b *testing.B) {
	s := openTest(b, b.TempDir())
	noErr(b, "Create", s.Create(b.Context(), "key", []byte("v")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Stamp("key"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerateDEK(b *testing.B) {
	s := openTest(b, b.TempDir())
	l, err := kms.NewLocal(kms.LocalOptions{Store: s})
	noErr(b, "NewLocal", err)
	b.Cleanup(l.Close)
	noErr(b, "CreateKey", l.CreateKey(b.Context(), "key"))
	old := time.Now().Add(-time.Hour)
	noErr(b, "Chtimes", os.Chtimes(s.path("key"), old, old))
	time.Sleep(settleTime + 100*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.GenerateDEK(b.Context(), "key", nil); err != nil {
			b.Fatal(err)
		}
	}
}
