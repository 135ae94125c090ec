// Package form reads browser form uploads, S3's PostObject: the fields that stand
// before the file, the file as a stream, and the policy that its sender signed.
// It knows no keys, no objects and no HTTP.
//
// Sources: RFC 7578 and RFC 2046 (section 5.1.1) for the form; "Browser-Based
// Uploads Using POST" of the Amazon S3 API reference for its fields and policy.
package form

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/textproto"
	"strings"
)

// Sentinels of this package.
var (
	// ErrMalformed is a body that is no form as S3 wants it.
	ErrMalformed = errors.New("malformed form")
	// ErrTooLarge is more before the file than a form may have.
	ErrTooLarge = errors.New("the fields before the file are too large")
	// ErrRepeated is a field that is given twice.
	ErrRepeated = errors.New("form field is repeated")
	// ErrNoFile is a form without a file.
	ErrNoFile = errors.New("the form has no file")
	// ErrNotLast is a file that something follows, where its size had to be known
	// before it is read.
	ErrNotLast = errors.New("the file is not the form's last field")
	// ErrPolicy is a policy document that is none.
	ErrPolicy = errors.New("malformed policy document")
	// ErrExpired is a policy whose time is over.
	ErrExpired = errors.New("the policy has expired")
	// ErrCondition is a form that its policy does not allow.
	ErrCondition = errors.New("the policy does not allow this form")
	// ErrTooSmall and ErrTooBig are files out of the policy's range.
	ErrTooSmall = errors.New("the file is smaller than the policy allows")
	ErrTooBig   = errors.New("the file is larger than the policy allows")
)

// The bounds of what stands before the file.
const (
	maxFieldBytes = 256 << 10 // all values together
	maxFields     = 200
	maxPartHeader = 8 << 10
	bufferSize    = 64 << 10 // also more than any delimiter and line
)

// Form is a form up to its file. It is not safe for concurrent use.
type Form struct {
	// Fields are the fields before the file, by their names in lower case.
	Fields map[string]string
	// FileName is the file's name without its folders, "" if there is none.
	FileName string

	src       *bufio.Reader
	delimiter []byte // CR LF, two dashes, boundary
	consumed  int64
}

// Signed says whether the form has any field of a signature. One that has is to be
// judged by it, however incomplete.
func (f *Form) Signed() bool {
	for _, name := range []string{
		"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token", "awsaccesskeyid", "signature",
	} {
		if f.Fields[name] != "" {
			return true
		}
	}
	return false
}

// Is says whether a body of that Content-Type is meant to be a form.
func Is(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "multipart/form-data"
}

// Read reads a form up to its file. The error wraps a sentinel of this package or
// is body's own.
func Read(body io.Reader, contentType string) (*Form, error) {
	media, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || media != "multipart/form-data" || boundary == "" || len(boundary) > 70 {
		return nil, fmt.Errorf("content type: %w", ErrMalformed)
	}
	f := &Form{Fields: make(map[string]string), src: bufio.NewReaderSize(body, bufferSize), delimiter: []byte("\r\n--" + boundary)}
	line, err := f.line()
	if err != nil {
		return nil, err
	}
	if line != "--"+boundary {
		return nil, fmt.Errorf("no boundary at the beginning: %w", ErrMalformed)
	}
	for held := 0; ; {
		name, fileName, err := f.partHeader()
		if err != nil {
			return nil, err
		}
		if name == "file" {
			f.FileName = baseName(fileName)
			return f, nil
		}
		value, last, err := f.value(maxFieldBytes - held)
		if err != nil {
			return nil, err
		}
		if held += len(name) + len(value); held > maxFieldBytes || len(f.Fields) == maxFields {
			return nil, ErrTooLarge
		}
		if _, twice := f.Fields[name]; twice {
			return nil, fmt.Errorf("%q: %w", name, ErrRepeated)
		}
		f.Fields[name] = value
		if last {
			return nil, ErrNoFile
		}
	}
}

// baseName drops the folders that some browsers send.
func baseName(path string) string {
	return path[strings.LastIndexAny(path, `/\`)+1:]
}

// line reads a line without its end.
func (f *Form) line() (string, error) {
	line, err := f.src.ReadSlice('\n')
	f.consumed += int64(len(line))
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", ErrTooLarge
	case err != nil:
		return "", ended(err)
	case !bytes.HasSuffix(line, []byte("\r\n")):
		return "", fmt.Errorf("line end: %w", ErrMalformed)
	}
	return string(line[:len(line)-2]), nil
}

// ended says that a body which ends here was cut off.
func ended(err error) error {
	if err == io.EOF { //nolint:errorlint // only the bare value is an end
		return io.ErrUnexpectedEOF
	}
	return err
}

// partHeader reads the header of a part: its field's name, in lower case, and the
// file's.
func (f *Form) partHeader() (name, fileName string, err error) {
	disposition := ""
	for size := 0; ; {
		line, err := f.line()
		if err != nil {
			return "", "", err
		}
		if line == "" {
			break
		}
		if size += len(line); size > maxPartHeader {
			return "", "", ErrTooLarge
		}
		key, value, ok := strings.Cut(line, ":")
		switch key = textproto.CanonicalMIMEHeaderKey(key); {
		case !ok, key == "Content-Disposition" && disposition != "":
			return "", "", fmt.Errorf("header of a part: %w", ErrMalformed)
		case key == "Content-Disposition":
			disposition = strings.TrimSpace(value)
		case key == "Content-Transfer-Encoding" && !strings.EqualFold(strings.TrimSpace(value), "binary") && !strings.HasSuffix(strings.ToLower(strings.TrimSpace(value)), "bit"):
			return "", "", fmt.Errorf("transfer encoding of a part: %w", ErrMalformed) // only base64 and quoted-printable change the bytes
		}
	}
	media, params, err := mime.ParseMediaType(disposition)
	if err != nil || media != "form-data" || params["name"] == "" {
		return "", "", fmt.Errorf("content disposition of a part: %w", ErrMalformed)
	}
	return strings.ToLower(params["name"]), params["filename"], nil
}

// value reads a field's value and the delimiter behind it; last says that the
// form ends there.
func (f *Form) value(limit int) (value string, last bool, err error) {
	var b []byte
	final := f.delimiter[len(f.delimiter)-1]
	for {
		c, err := f.src.ReadByte()
		if err != nil {
			return "", false, ended(err)
		}
		f.consumed++
		if b = append(b, c); c == final && bytes.HasSuffix(b, f.delimiter) {
			break
		}
		if len(b) > limit+len(f.delimiter) {
			return "", false, ErrTooLarge
		}
	}
	rest, err := f.line()
	switch {
	case err != nil && rest == "":
		return "", false, err
	case rest != "" && rest != "--":
		return "", false, fmt.Errorf("behind a boundary: %w", ErrMalformed)
	}
	return string(b[:len(b)-len(f.delimiter)]), rest == "--", nil
}

// FileSize returns the file's size if it is the last field of a body of
// bodySize bytes, which File then verifies. ErrMalformed if that cannot be.
func (f *Form) FileSize(bodySize int64) (int64, error) {
	size := bodySize - f.consumed - int64(len(f.delimiter)) - int64(len("--\r\n"))
	if size < 0 {
		return 0, fmt.Errorf("the body is too short for its file: %w", ErrMalformed)
	}
	return size, nil
}

// File returns the file's content. It ends in io.EOF only behind the boundary.
// With size >= 0, from FileSize, the form must end there too: ErrNotLast, and
// whatever was read is not the file. With size < 0 what follows is not looked at.
// A body that breaks off is io.ErrUnexpectedEOF.
func (f *Form) File(size int64) io.Reader {
	return &file{src: f.src, delimiter: f.delimiter, left: size, last: size >= 0}
}

type file struct {
	src       *bufio.Reader
	delimiter []byte
	left      int64
	last      bool // the file must be the form's last field
	err       error
}

// Read implements io.Reader.
func (f *file) Read(p []byte) (int, error) {
	if f.err != nil || len(p) == 0 {
		return 0, f.err
	}
	if _, err := f.src.Peek(len(f.delimiter)); err != nil {
		f.err = ended(err)
		return 0, f.err
	}
	window, _ := f.src.Peek(f.src.Buffered())
	data := window[:len(window)-len(f.delimiter)+1] // the rest may begin a delimiter
	switch i := bytes.Index(window, f.delimiter); {
	case i == 0:
		f.err = f.end()
		return 0, f.err
	case f.last && f.left == 0: // the delimiter ought to come here
		f.err = ErrNotLast
		return 0, f.err
	case i > 0:
		data = window[:i]
	}
	n := copy(p, data)
	_, _ = f.src.Discard(n)
	f.left -= int64(n)
	return n, nil
}

// end reads the delimiter that comes next, and what must follow it.
func (f *file) end() error {
	_, _ = f.src.Discard(len(f.delimiter))
	tail, err := f.src.Peek(2)
	if err != nil {
		return ended(err)
	}
	closing := string(tail) == "--"
	switch {
	case !closing && string(tail) != "\r\n":
		return fmt.Errorf("behind a boundary: %w", ErrMalformed)
	case !f.last:
		return io.EOF
	case !closing || f.left != 0:
		return ErrNotLast
	}
	_, _ = f.src.Discard(2)
	var rest [3]byte
	n, err := io.ReadFull(f.src, rest[:])
	switch {
	case err != io.EOF && err != io.ErrUnexpectedEOF: //nolint:errorlint // bare, as ReadFull gives them
		if err == nil {
			err = ErrNotLast
		}
		return err
	case string(rest[:n]) != "\r\n":
		return ErrNotLast
	}
	return io.EOF
}
