package keybackup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/bucketseal/bucketseal/kms"
)

const (
	format  = "bucketseal-key-backup"
	version = 1

	// maxLine bounds a line in bytes: stores bound a value to 1 MiB, which base64 makes
	// longer by a third.
	maxLine = 2 << 20
	// maxEntries bounds the entries that are read.
	maxEntries = 1 << 20
)

// The lines of a backup, each a JSON object: one header, the entries, one footer.
type (
	header struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
		About
		Keys int `json:"keys"`
	}
	entryLine struct {
		Name  string `json:"name"`
		Value []byte `json:"value"`
	}
	footer struct {
		// SHA256 is of all lines before.
		SHA256 string `json:"sha256"`
	}
)

// encode returns the unencrypted file, which is to be cleared.
func (b *Backup) encode() ([]byte, error) {
	size := 4096
	for _, e := range b.Entries {
		size += len(e.Name) + 2*len(e.Value) + 64
	}
	out := bytes.NewBuffer(make([]byte, 0, size)) // grows no more: no copies stay behind
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(header{format, version, b.About, len(b.Entries)}); err != nil {
		return nil, err
	}
	for _, entry := range b.Entries {
		if err := e.Encode(entryLine(entry)); err != nil {
			clear(out.Bytes())
			return nil, err
		}
	}
	return appendDigest(out.Bytes()), nil
}

// appendDigest appends the footer to all lines before it.
func appendDigest(lines []byte) []byte {
	sum := sha256.Sum256(lines)
	return append(lines, `{"sha256":"`+hex.EncodeToString(sum[:])+"\"}\n"...)
}

// decode reads an unencrypted file whole, and refuses what encode does not write.
// ErrDamaged, or what reading src failed with.
func decode(src io.Reader) (*Backup, error) {
	d := decoder{src: bufio.NewReaderSize(src, 64<<10), sum: sha256.New()}
	defer func() { clear(d.line[:cap(d.line)]) }()
	b := new(Backup)
	err := d.decode(b)
	if err != nil {
		b.Zero()
		return nil, err
	}
	return b, nil
}

// decoder reads lines and has the digest of all that it read.
type decoder struct {
	src  *bufio.Reader
	sum  hash.Hash
	line []byte
}

func (d *decoder) decode(b *Backup) error {
	h, err := d.header()
	if err != nil {
		return err
	}
	b.About = h.About
	for range h.Keys {
		if err := d.entry(b); err != nil {
			return err
		}
	}
	sum := hex.EncodeToString(d.sum.Sum(nil))
	var f footer
	if err := d.next(&f); err != nil {
		return err
	}
	if f.SHA256 != sum {
		return fmt.Errorf("the digest does not fit: %w", ErrDamaged)
	}
	if _, err := d.src.ReadByte(); err == nil {
		return fmt.Errorf("something follows its end: %w", ErrDamaged)
	} else if err != io.EOF {
		return cutOff(err)
	}
	return nil
}

func (d *decoder) header() (*header, error) {
	if err := d.next(nil); err != nil {
		return nil, err
	}
	var what struct { // of another version, the rest may have another shape
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(d.line, &what); err != nil || what.Format != format {
		return nil, fmt.Errorf("it does not begin as one: %w", ErrDamaged)
	}
	if what.Version != version {
		return nil, fmt.Errorf("it is of version %d, and this program knows %d: %w", what.Version, version, ErrDamaged)
	}
	h := new(header)
	if err := strictly(d.line, h); err != nil {
		return nil, err
	}
	if h.Keys < 1 || h.Keys > maxEntries {
		return nil, fmt.Errorf("%d keys: %w", h.Keys, ErrDamaged)
	}
	return h, nil
}

// entry reads an entry, whose name must follow the last one's: names come from a file, and
// go to stores that make paths of them.
func (d *decoder) entry(b *Backup) error {
	var e entryLine
	if err := d.next(&e); err != nil {
		return err
	}
	if kms.ValidateEntryName(e.Name) != nil {
		return fmt.Errorf("%.100q is no name of a key: %w", e.Name, ErrDamaged)
	}
	if n := len(b.Entries); n > 0 && b.Entries[n-1].Name >= e.Name {
		return fmt.Errorf("key %q is out of order: %w", e.Name, ErrDamaged)
	}
	b.Entries = append(b.Entries, Entry(e))
	return nil
}

// next reads a line, and parses it if v is not nil.
func (d *decoder) next(v any) error {
	d.line = d.line[:0]
	for {
		part, err := d.src.ReadSlice('\n')
		d.line = append(d.line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return cutOff(err)
		}
		if len(d.line) > maxLine {
			return fmt.Errorf("a line of more than %d bytes: %w", maxLine, ErrDamaged)
		}
	}
	d.sum.Write(d.line)
	if v == nil {
		return nil
	}
	return strictly(d.line, v)
}

// cutOff is for errors of reading an encrypted file: they are those of a file that is cut
// off or was changed, unless the disk says otherwise.
func cutOff(err error) error {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		return err
	}
	return fmt.Errorf("%w (%w)", ErrDamaged, err)
}

func strictly(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("a line does not parse: %w", ErrDamaged) // its error may quote it
	}
	if d.InputOffset() != int64(len(line)-1) {
		return fmt.Errorf("something follows in a line: %w", ErrDamaged)
	}
	// JSON has many ways to write one value: names without case, or repeated. There is one here.
	again := bytes.NewBuffer(make([]byte, 0, len(line)+64)) // grows no more if it is the same
	defer func() { clear(again.Bytes()) }()
	e := json.NewEncoder(again)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil || !bytes.Equal(again.Bytes(), line) {
		return fmt.Errorf("a line is not as it is written: %w", ErrDamaged)
	}
	return nil
}
