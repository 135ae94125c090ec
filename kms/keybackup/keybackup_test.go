package keybackup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/kms/keystore/fs"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func about() keybackup.About {
	return keybackup.About{
		Created: time.Date(2026, 11, 26, 21, 0, 0, 0, time.UTC), Deployment: "default", SystemBucket: "bucketseal-system",
		DefaultKey: "k", S3Key: "k", FormerS3Keys: []string{"older"},
	}
}

// filled returns a store with a real key, and a value that is as long as a store takes.
func filled(t *testing.T) kms.Store {
	t.Helper()
	s := mem.New()
	local, err := kms.NewLocal(kms.LocalOptions{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if err := local.CreateKey(context.Background(), "k"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "long", strings.Repeat("<\x00\xff>", 1<<17))
	return s
}

func put(t *testing.T, s kms.Store, name, value string) {
	t.Helper()
	if err := s.Create(context.Background(), name, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, s kms.Store) *keybackup.Backup {
	t.Helper()
	b, err := keybackup.Take(context.Background(), s, about())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, b *keybackup.Backup, to ...age.Recipient) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := b.Write(&file, to...); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestEveryRecipientRestoresIntoEveryKindOfStore(t *testing.T) {
	t.Parallel()
	from := filled(t)
	b := take(t, from)
	one, other := identity(t), identity(t)
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, b, one.Recipient(), other.Recipient())
	afterQuantum := write(t, b, pq.Recipient())
	value, _ := from.Get(context.Background(), "k")
	if bytes.Contains(file, value) {
		t.Fatal("a key is readable in the backup")
	}
	for name, to := range map[string]func() (kms.Store, error){
		"mem":      func() (kms.Store, error) { return mem.New(), nil },
		"fs":       func() (kms.Store, error) { return fs.Open(fs.Options{Dir: t.TempDir(), MasterKey: fs.MasterKey{1}}) },
		"fs plain": func() (kms.Store, error) { return fs.OpenPlain(t.TempDir()) },
	} {
		for _, opened := range []struct {
			file []byte
			id   age.Identity
		}{{file, one}, {file, other}, {afterQuantum, pq}} {
			back, err := keybackup.Read(bytes.NewReader(opened.file), identity(t), opened.id)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(back.About) != fmt.Sprint(about()) {
				t.Errorf("the backup is of %v", back.About)
			}
			store, err := to()
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []keybackup.Restored{{Written: 2}, {Present: 2}} {
				if done, err := back.Restore(context.Background(), store); err != nil || done != want {
					t.Errorf("%s: restored %+v, %v, want %+v", name, done, err, want)
				}
			}
			for _, key := range []string{"k", "long"} {
				want, _ := from.Get(context.Background(), key)
				if got, err := store.Get(context.Background(), key); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %s is another value (%v)", name, key, err)
				}
			}
		}
	}
}

func TestPassphrase(t *testing.T) {
	t.Parallel()
	recipient, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	file := write(t, take(t, filled(t)), recipient)
	right, _ := age.NewScryptIdentity("correct horse")
	wrong, _ := age.NewScryptIdentity("battery staple")
	if _, err := keybackup.Read(bytes.NewReader(file), right); err != nil {
		t.Error(err)
	}
	for _, id := range []age.Identity{wrong, identity(t)} {
		if _, err := keybackup.Read(bytes.NewReader(file), id); !errors.Is(err, keybackup.ErrIdentity) || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("%T opens it: %v", id, err)
		}
	}
}

func TestOtherIdentitiesAreToldSo(t *testing.T) {
	t.Parallel()
	file := write(t, take(t, filled(t)), identity(t).Recipient())
	if _, err := keybackup.Read(bytes.NewReader(file), identity(t)); !errors.Is(err, keybackup.ErrIdentity) || errors.Is(err, keybackup.ErrDamaged) {
		t.Error(err)
	}
}

func TestArmoredBackupsAreRead(t *testing.T) {
	t.Parallel()
	id := identity(t)
	var text bytes.Buffer
	w := armor.NewWriter(&text)
	if _, err := w.Write(write(t, take(t, filled(t)), id.Recipient())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keybackup.Read(&text, id); err != nil {
		t.Error(err)
	}
}

func TestDamagedFilesRestoreNothing(t *testing.T) {
	t.Parallel()
	id := identity(t)
	s := mem.New()
	put(t, s, "a", "value")
	file := write(t, take(t, s), id.Recipient())
	for n := range len(file) {
		if _, err := keybackup.Read(bytes.NewReader(file[:n]), id); !errors.Is(err, keybackup.ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(file), err)
		}
		flipped := bytes.Clone(file)
		flipped[n] ^= 1
		if _, err := keybackup.Read(bytes.NewReader(flipped), id); err == nil {
			t.Fatalf("byte %d was changed, and nothing said so", n)
		}
	}
	if _, err := keybackup.Read(bytes.NewReader(append(file, 0)), id); !errors.Is(err, keybackup.ErrDamaged) {
		t.Errorf("something follows: %v", err)
	}
}

// Whoever knows a recipient can encrypt to it: what is inside is not trusted either.
func TestForgedContents(t *testing.T) {
	t.Parallel()
	id := identity(t)
	const head = `{"format":"bucketseal-key-backup","version":1,"created":"2026-11-26T21:00:00Z","deployment":"d","system_bucket":"s","default_key":"k","sse_s3_key":"k","keys":1}` + "\n"
	for name, plain := range map[string]string{
		"nothing":         "",
		"other JSON":      "{}\n",
		"another version": strings.Replace(head, `"version":1`, `"version":2`, 1),
		"a path":          head + `{"name":"../k","value":"AA=="}` + "\n",
		"no key":          strings.Replace(head, `"keys":1`, `"keys":0`, 1),
		"a million":       strings.Replace(head, `"keys":1`, `"keys":1000000000000`, 1),
		"unknown field":   head + `{"name":"k","value":"AA==","x":1}` + "\n",
		"two in a line":   head + `{"name":"k","value":"AA=="}{}` + "\n",
		"no footer":       head + `{"name":"k","value":"AA=="}` + "\n",
		"other footer":    head + `{"name":"k","value":"AA=="}` + "\n" + `{"sha256":""}` + "\n",
		"a long line":     head + strings.Repeat(" ", 3<<20),
		"twice": strings.Replace(head, `"keys":1`, `"keys":2`, 1) + `{"name":"k","value":"AA=="}` + "\n" +
			`{"name":"k","value":"AQ=="}` + "\n",
	} {
		var file bytes.Buffer
		w, err := age.Encrypt(&file, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := keybackup.Read(&file, id); !errors.Is(err, keybackup.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	b := take(t, filled(t))
	to := mem.New()
	put(t, to, "long", "another")
	_, err := b.Restore(context.Background(), to)
	if !errors.Is(err, keybackup.ErrOtherKey) || !strings.Contains(err.Error(), `"long"`) {
		t.Errorf("restored over another key: %v", err)
	}
	if names, _ := to.List(context.Background(), ""); len(names) != 1 {
		t.Errorf("the store has %v", names)
	}
}

// full is a store that takes so many entries.
type full struct {
	*mem.Store
	room int
}

var errFull = errors.New("no space left on device")

func (f *full) Create(ctx context.Context, name string, value []byte) error {
	if f.room == 0 {
		return fmt.Errorf("%w: %w", kms.ErrUnavailable, errFull)
	}
	f.room--
	return f.Store.Create(ctx, name, value)
}

func TestRestoreGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	b := take(t, filled(t))
	to := &full{mem.New(), 1}
	if done, err := b.Restore(context.Background(), to); !errors.Is(err, errFull) || done.Written != 1 || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("a full store: %+v, %v", done, err)
	}
	to.room = 1
	if done, err := b.Restore(context.Background(), to); err != nil || done != (keybackup.Restored{Written: 1, Present: 1}) {
		t.Errorf("the second run: %+v, %v", done, err)
	}
}

// deaf is a store whose entry cannot be read.
type deaf struct{ *mem.Store }

func (d deaf) Get(ctx context.Context, name string) ([]byte, error) {
	if name == "bad" {
		return nil, kms.ErrCorruptKey
	}
	return d.Store.Get(ctx, name)
}

func TestAnUnreadableKeyFailsTheBackup(t *testing.T) {
	t.Parallel()
	s := mem.New()
	put(t, s, "bad", "x")
	put(t, s, "good", "y")
	if _, err := keybackup.Take(context.Background(), deaf{s}, about()); !errors.Is(err, kms.ErrCorruptKey) || !strings.Contains(err.Error(), `"bad"`) {
		t.Error(err)
	}
	if _, err := keybackup.Take(context.Background(), mem.New(), about()); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("a backup of nothing: %v", err)
	}
}

// impatient is a store whose caller gives up while it is read.
type impatient struct {
	*mem.Store
	giveUp func()
}

func (i impatient) Get(ctx context.Context, name string) ([]byte, error) {
	defer i.giveUp()
	return i.Store.Get(ctx, name)
}

func TestAnInterruptedBackupIsNone(t *testing.T) {
	t.Parallel()
	s := mem.New()
	put(t, s, "a", "x")
	put(t, s, "b", "y")
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := keybackup.Take(ctx, impatient{s, cancel}, about()); !errors.Is(err, context.Canceled) {
		t.Errorf("half a backup: %v", err)
	}
}

func TestWhatCouldNotBeReadIsNotWritten(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*keybackup.Backup{
		"a path":         {Entries: []keybackup.Entry{{Name: "a/b", Value: []byte("x")}}},
		"twice":          {Entries: []keybackup.Entry{{Name: "a", Value: []byte("x")}, {Name: "a", Value: []byte("y")}}},
		"nothing":        {},
		"a long value":   {Entries: []keybackup.Entry{{Name: "a", Value: make([]byte, 3<<20)}}},
		"a name of none": {Entries: []keybackup.Entry{{Value: []byte("x")}}},
	} {
		var file bytes.Buffer
		if err := b.Write(&file, identity(t).Recipient()); !errors.Is(err, keybackup.ErrDamaged) || file.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, file.Len())
		}
	}
}

func TestDigestIsOfTheContent(t *testing.T) {
	t.Parallel()
	id := identity(t)
	b := take(t, filled(t))
	want, err := b.Digest()
	if err != nil {
		t.Fatal(err)
	}
	back, err := keybackup.Read(bytes.NewReader(write(t, b, id.Recipient())), id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := back.Digest(); err != nil || got != want {
		t.Errorf("digest %s, %v, want %s", got, err, want)
	}
	back.Entries[0].Value[0] ^= 1
	if got, _ := back.Digest(); got == want {
		t.Error("other keys have one digest")
	}
}

func TestEntriesPrintWithoutTheirValues(t *testing.T) {
	t.Parallel()
	e := keybackup.Entry{Name: "k", Value: []byte("secret")}
	if text := fmt.Sprintf("%v %+v %#v %s", e, e, e, e); strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprintf("%d", []byte("secret"))) {
		t.Error(text)
	}
}
