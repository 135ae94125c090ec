package vault

import (
	"io"

	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/sse"
)

// Reader is an object that was opened: what is said of it, and the bytes that were asked
// for. The caller closes it. It is not safe for concurrent use.
type Reader struct {
	Seen
	// Range is what is answered of the plaintext. Of a plain object Meta says where it
	// lies.
	Range sse.Range
	// Partial says that a range or a part was asked for, and is answered.
	Partial bool
	// Parts is how many parts the object has, if one was asked for and it was uploaded in
	// parts, else 0.
	Parts int
	// Checksum is that of what is answered, all of it or a part, if it was asked for and
	// is known. Of a plain object Meta says it.
	Checksum *sse.Checksum

	source source
	// body is that of upstream's first answer, again that of a second one; nil for none.
	body, again io.ReadCloser
	// plain is the data, nil if none was asked for.
	plain io.Reader
	// text is plain, of an encrypted object.
	text *sse.Decrypter
}

// begun is how much of an encrypted object is verified before it is answered, in bytes: a
// small one is verified whole.
const begun = 128 << 10

// Begin has the first of an encrypted object's data read and verified: nothing is to be
// answered before. Errors are those of Read. Of a plain object, of which there is nothing
// to verify, it does nothing.
func (r *Reader) Begin() error {
	if r.text == nil {
		return nil
	}
	if err := r.text.Begin(begun); err != nil {
		return r.failed(err)
	}
	return nil
}

// WriteTo writes the data to w, as it is decrypted and without another copy. Errors are
// those of Read, but io.EOF, and w's.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	if r.text == nil {
		return io.Copy(w, struct{ io.Reader }{r})
	}
	n, err := r.text.WriteTo(w)
	if err != nil && err == r.text.Err() { //nolint:errorlint // else it is w's
		err = r.failed(err)
	}
	return n, err
}

// First reads the first bytes of the data into p, as many as there are or fit, and returns
// how many. Of an encrypted object they are authentic: nothing is to be answered before.
// Errors are those of Read, and an end that comes too early is one.
func (r *Reader) First(p []byte) (int, error) {
	n, err := io.ReadAtLeast(r.plain, p, int(min(r.Range.Length, int64(len(p)))))
	if err != nil {
		return n, r.failed(err)
	}
	return n, nil
}

// Read reads the data. io.EOF comes when all of it was authentic; sse.ErrTampered,
// sse.ErrTruncated, or storage.ErrUnreachable.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.plain.Read(p)
	if err != nil && err != io.EOF {
		err = r.failed(err)
	}
	return n, err
}

// failed is the error that reading the data ended with.
func (r *Reader) failed(err error) error {
	err = sealed.ReadError(err)
	r.source.vault.o.Objects.Doubt(r.source.object, err)
	return err
}

// Close ends reading and forgets the key. It may be called once, and not while somebody reads.
func (r *Reader) Close() error {
	r.source.zero()
	var err error
	if r.text != nil {
		err = r.text.Close()
	}
	if r.again != nil {
		err = r.again.Close()
	}
	if r.body != nil {
		if first := r.body.Close(); err == nil {
			err = first
		}
	}
	return err
}
