package sse

import "io"

// Decrypter reads plaintext out of encrypted packages. They are read ahead into one buffer,
// checked against their place and decrypted there, and handed on from it: nothing that is
// not authentic. It is not safe for concurrent use.
//
// Errors are ErrTampered, ErrTruncated, or the source's own; they are sticky and never
// io.EOF. That comes when all that was asked for was delivered.
type Decrypter struct {
	src       io.Reader
	toRead    int64 // encrypted bytes that were not read of src
	remaining int64 // plaintext that was not decrypted, in bytes
	skip      int   // bytes of the next package that were not asked for

	at packagesOf // the next package
	// parts and key are those of an object of parts, of which part is the index of the
	// current one; nil and zero for a single stream.
	parts *Parts
	key   ObjectKey
	part  int

	buf *buffer
	// from and to are the bytes of buf that were read and not decrypted.
	from, to int
	used     int // bytes of buf that were written to
	// ready are plaintexts that were not delivered, within buf, of which there are n.
	ready [ahead][]byte
	n     int
	err   error
}

// begin goes to the package of s with the plaintext byte at offset.
func (d *Decrypter) begin(s *Stream, offset int64) {
	d.at, d.skip = s.from(offset), int(offset%PackageSize)
}

// beginPart goes to the package of the current part with the byte at offset.
func (d *Decrypter) beginPart(offset int64) {
	part := d.parts.list[d.part]
	stream := Stream{Key: d.key.Part(part.Number), Nonce: part.Nonce, PlainSize: part.PlainSize}
	d.begin(&stream, offset)
	clear(stream.Key[:])
}

// Read reads plaintext.
func (d *Decrypter) Read(p []byte) (int, error) {
	if len(p) == 0 && d.err == nil {
		return 0, nil
	}
	if d.n == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.ready[0])
	d.delivered(n)
	return n, nil
}

// WriteTo writes all that is left, up to two packages in each write. Errors are those of Read, but
// io.EOF, which are then those of Err; and w's, after which reading fails with
// io.ErrClosedPipe.
func (d *Decrypter) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if d.n == 0 {
			if err := d.next(); err == io.EOF {
				return written, nil
			} else if err != nil {
				return written, err
			}
		}
		if err := d.join(); err != nil {
			return written, err
		}
		n, err := w.Write(d.ready[0])
		written += int64(n)
		if err == nil && n < len(d.ready[0]) {
			err = io.ErrShortWrite
		}
		if err != nil {
			// A writer that failed may go on reading what it was given, as that of an
			// HTTP/2 stream does which its client has reset: nobody else gets the buffer.
			d.buf = nil
			d.end(io.ErrClosedPipe)
			return written, err
		}
		d.delivered(n)
	}
}

// join moves the next plaintext behind the first, if it is there and both are no longer
// than two packages: another write costs more.
func (d *Decrypter) join() error {
	for d.n > 1 || d.remaining > 0 && d.to-d.from >= d.at.encSize() {
		if d.n == 1 {
			if err := d.next(); err != nil {
				return err
			}
		}
		if len(d.ready[0])+len(d.ready[1]) > 2*PackageSize {
			return nil
		}
		d.ready[0] = append(d.ready[0], d.ready[1]...) // within the buffer
		d.n--
		copy(d.ready[1:], d.ready[2:d.n+1])
		d.ready[d.n] = nil
	}
	return nil
}

// Begin has the first n bytes of the plaintext read and decrypted, or as many as there are,
// but in more than four packages: one of them in any case.
func (d *Decrypter) Begin(n int64) error {
	for _, plain := range d.ready[:d.n] {
		n -= int64(len(plain))
	}
	for n > 0 && d.n < len(d.ready) && d.remaining > 0 && (d.n == 0 || d.fits()) {
		before := d.n
		if err := d.next(); err != nil {
			return err
		}
		for _, plain := range d.ready[before:d.n] {
			n -= int64(len(plain))
		}
	}
	return nil
}

// Err returns the error that reading ended with; nil before, io.EOF if all was delivered.
func (d *Decrypter) Err() error { return d.err }

// Close gives the buffer back if reading has not ended, and forgets the key. Then reading
// fails with io.ErrClosedPipe. Nobody may be reading.
func (d *Decrypter) Close() error {
	if d.err == nil {
		d.end(io.ErrClosedPipe)
	}
	return nil
}

// delivered takes n bytes of the first plaintext that is ready as delivered.
func (d *Decrypter) delivered(n int) {
	d.ready[0] = d.ready[0][n:]
	if len(d.ready[0]) > 0 {
		return
	}
	copy(d.ready[:], d.ready[1:d.n])
	d.n--
	d.ready[d.n] = nil
}

// next makes the next package ready. Errors are sticky; io.EOF after the last.
func (d *Decrypter) next() error {
	if d.err != nil {
		return d.err
	}
	if d.remaining == 0 {
		d.end(io.EOF)
		return io.EOF
	}
	pack, err := d.read()
	if err == nil {
		var plain []byte
		if plain, err = d.at.open(pack); err == nil {
			plain = plain[d.skip:]
			plain = plain[:min(int64(len(plain)), d.remaining)]
			d.skip = 0
			d.remaining -= int64(len(plain))
			d.ready[d.n] = plain
			d.n++
			d.advance()
			return nil
		}
	}
	d.end(err)
	return err
}

// end ends reading with err.
func (d *Decrypter) end(err error) {
	d.err = err
	d.key.Zero()
	d.at = packagesOf{}
	clear(d.ready[:])
	d.n = 0
	if d.buf != nil {
		d.buf.release(d.used)
		d.buf = nil
	}
}

// advance goes to the next package, of the next part that has one.
func (d *Decrypter) advance() {
	if d.remaining == 0 || d.at.next() {
		return
	}
	for d.part++; d.parts.list[d.part].PlainSize == 0; d.part++ {
	}
	d.beginPart(0)
}

// fits says whether the next package can be read without moving what is in the buffer.
func (d *Decrypter) fits() bool { return d.from+d.at.encSize() <= len(d.buf.bytes) }

// read returns the next package. It reads as much as there is room for and src has.
func (d *Decrypter) read() ([]byte, error) {
	size := d.at.encSize()
	if d.buf == nil {
		d.buf = takeBuffer(d.toRead)
	}
	if d.to-d.from < size {
		switch {
		case d.n > 0: // plaintext lies before it: see fits
		case d.from == d.to:
			d.from, d.to = 0, 0
		case !d.fits():
			d.to = copy(d.buf.bytes, d.buf.bytes[d.from:d.to])
			d.from = 0
		}
		room := d.buf.bytes[d.to:]
		room = room[:min(int64(len(room)), d.toRead)]
		n, err := io.ReadAtLeast(d.src, room, size-(d.to-d.from))
		d.to += n
		d.toRead -= int64(n)
		d.used = max(d.used, d.to)
		if err != nil {
			return nil, notEOF(err)
		}
	}
	pack := d.buf.bytes[d.from : d.from+size]
	d.from += size
	return pack, nil
}
