// Package deletion reads the documents of DeleteObjects: what a client asks for, and what
// the storage says of each object.
//
// The storage reads the same document, so it is read as MinIO does: elements are found by their
// name alone, and of two with one name the last counts. What cannot be read so is refused, for
// the storage may find more in it.
package deletion

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
)

// namespace is that of S3's documents.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

var (
	// ErrMalformed says that a document is none of DeleteObjects.
	ErrMalformed = errors.New("malformed document of DeleteObjects")
	// ErrCondition says that an object is to be deleted on a condition that only directory buckets
	// of AWS have: on its size or its date.
	ErrCondition = errors.New("a condition of DeleteObjects that is not known")
)

// SyntaxError is an ErrMalformed with what is wrong with a client's XML, as MinIO tells it.
type SyntaxError struct{ Reason error }

// Error returns what is wrong.
func (e *SyntaxError) Error() string { return ErrMalformed.Error() + ": " + e.Reason.Error() }

// Unwrap returns ErrMalformed.
func (*SyntaxError) Unwrap() error { return ErrMalformed }

// MaxObjects is how many objects a request may name.
const MaxObjects = 1000

// Request is what a client asks for.
type Request struct {
	// Quiet asks for an answer with errors alone.
	Quiet   bool
	Objects []Object
}

// Object is one to delete.
type Object struct {
	Key, Version string
	// IfMatch is the ETag that it must have; "" for any.
	IfMatch string
}

// Parse reads a client's document. ErrMalformed, ErrCondition.
func Parse(document []byte) (*Request, error) {
	var read struct {
		Quiet   bool
		Objects []struct {
			Key              string
			VersionID        string `xml:"VersionId"`
			ETag             string
			LastModifiedTime *string
			Size             *string
		} `xml:"Object"`
	}
	if err := decode(document, &read); err != nil {
		return nil, &SyntaxError{err}
	}
	if len(read.Objects) == 0 || len(read.Objects) > MaxObjects {
		return nil, ErrMalformed
	}
	r := &Request{Quiet: read.Quiet, Objects: make([]Object, len(read.Objects))}
	for i, o := range read.Objects {
		if o.LastModifiedTime != nil || o.Size != nil {
			return nil, ErrCondition
		}
		r.Objects[i] = Object{Key: o.Key, Version: o.VersionID, IfMatch: o.ETag}
	}
	return r, nil
}

// decode reads the first element of a document, whatever its name and its declared encoding,
// in which MinIO reads UTF-8 too.
func decode(document []byte, v any) error {
	d := xml.NewDecoder(bytes.NewReader(document))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return d.Decode(v)
}

// Conditional says whether an object is to be deleted on a condition.
func (r *Request) Conditional() bool {
	for i := range r.Objects {
		if r.Objects[i].IfMatch != "" {
			return true
		}
	}
	return false
}

// XML is the document that asks for these objects, without conditions.
func (r *Request) XML() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<Delete xmlns="` + namespace + `"><Quiet>` + strconv.FormatBool(r.Quiet) + "</Quiet>")
	for i := range r.Objects {
		b.WriteString("<Object>")
		element(&b, "Key", r.Objects[i].Key)
		if r.Objects[i].Version != "" {
			element(&b, "VersionId", r.Objects[i].Version)
		}
		b.WriteString("</Object>")
	}
	b.WriteString("</Delete>")
	return b.Bytes()
}

// Failure is why an object was not deleted.
type Failure struct {
	Object
	Code, Message string
}

// Result is what became of the objects.
type Result struct {
	// Deleted are those of which a quiet answer says nothing. Version is that of a delete marker
	// where one was made.
	Deleted []Object
	Failed  []Failure
}

// end is how every answer ends.
const end = "</DeleteResult>"

// Merge reads the storage's answer to a request, nil if it was asked for nothing, and adds what
// failed before. It returns all, also as the client's answer. ErrMalformed for what is no whole
// answer.
func Merge(document []byte, failed []Failure) (*Result, []byte, error) {
	if document == nil {
		document = []byte(xml.Header + `<DeleteResult xmlns="` + namespace + `">` + end)
	}
	at := bytes.LastIndex(document, []byte(end))
	if at < 0 {
		return nil, nil, ErrMalformed
	}
	var b bytes.Buffer
	b.Write(document[:at])
	for i := range failed {
		b.WriteString("<Error>")
		element(&b, "Key", failed[i].Key)
		if failed[i].Version != "" {
			element(&b, "VersionId", failed[i].Version)
		}
		element(&b, "Code", failed[i].Code)
		element(&b, "Message", failed[i].Message)
		b.WriteString("</Error>")
	}
	b.Write(document[at:])
	r, err := parseResult(b.Bytes())
	return r, b.Bytes(), err
}

func parseResult(document []byte) (*Result, error) {
	var read struct {
		Deleted []struct {
			Key                   string
			VersionID             string `xml:"VersionId"`
			DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId"`
		}
		Error []struct {
			Key       string
			VersionID string `xml:"VersionId"`
			Code      string
			Message   string
		}
	}
	if decode(document, &read) != nil {
		return nil, ErrMalformed
	}
	r := new(Result)
	for _, d := range read.Deleted {
		version := d.VersionID
		if version == "" {
			version = d.DeleteMarkerVersionID
		}
		r.Deleted = append(r.Deleted, Object{Key: d.Key, Version: version})
	}
	for _, e := range read.Error {
		r.Failed = append(r.Failed, Failure{Object{Key: e.Key, Version: e.VersionID}, e.Code, e.Message})
	}
	return r, nil
}

// Outcome is an object and what became of it: Code is "" if it was deleted.
type Outcome struct{ Key, Version, Code string }

// Outcomes says what became of each object, or with nil for the result only which they are. A
// quiet result names those that failed alone.
func (r *Request) Outcomes(result *Result) []Outcome {
	var all []Outcome
	failed := make(map[[2]string]bool)
	if result != nil {
		for _, f := range result.Failed {
			failed[[2]string{f.Key, f.Version}] = true
			all = append(all, Outcome{f.Key, f.Version, f.Code})
		}
	}
	if result != nil && !r.Quiet {
		for _, o := range result.Deleted {
			all = append(all, Outcome{o.Key, o.Version, ""})
		}
		return all
	}
	for _, o := range r.Objects {
		if !failed[[2]string{o.Key, o.Version}] {
			all = append(all, Outcome{o.Key, o.Version, ""})
		}
	}
	return all
}

func element(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(value)) // a buffer does not fail
	b.WriteString("</" + name + ">")
}
