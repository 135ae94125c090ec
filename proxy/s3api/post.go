package s3api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// formFields is what a form has before its file, in bytes: at most. Its time follows
// from it.
const formFields = 256 << 10

// posting is one PostObject on its way: a form whose fields stand for a PUT's
// headers, and whose file is its body.
type posting struct {
	server *API
	outer  *intake.Request // the form
	form   *form.Form
	policy *form.Policy    // nil for a form without one
	put    *intake.Request // the PUT it stands for
}

// postObject serves PostObject.
func (s *API) postObject(w http.ResponseWriter, r *intake.Request) error {
	if r.Auth.Kind != sigv4.Anonymous {
		return sigv4.ErrMultipleAuth // a form is signed inside
	}
	done, err := s.in.AwaitBody(r, formFields)
	if err != nil {
		return err
	}
	f, err := form.Read(r.Body, r.Header.Get("Content-Type"))
	done()
	if err != nil {
		return formError(err)
	}
	p := &posting{server: s, outer: r, form: f}
	if err := p.authenticate(r.Context()); err != nil {
		return err
	}
	err = p.store(w)
	if err != nil && r.Auth.Kind == sigv4.Anonymous && Describe(err).Status == http.StatusForbidden {
		return fmt.Errorf("%w: %v", errUnsignedForm, err) //nolint:errorlint // the answer is that of the former
	}
	return err
}

// store does what the form asks for, once it is known who sends it.
func (p *posting) store(w http.ResponseWriter) error {
	s, r := p.server, p.outer
	if err := p.setRequest(); err != nil {
		return err
	}
	if err := s.in.Enter(r); err != nil {
		return err
	}
	put := s.putOf(p.put)
	defer put.Asked.CustomerKey.Zero()
	put.Size, put.Allowed = p.put.ContentLength, p.allows
	stored, err := s.vault.Put(p.put.Context(), s.writer(p.put), put)
	if err != nil {
		return err
	}
	tellStored(w.Header(), stored, put.Asked.CustomerKeyMD5)
	p.answer(w)
	return nil
}

// formError keeps a form that breaks off apart from one that is wrong.
func formError(err error) error {
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // bare, as form gives it
		return errFormCut
	}
	return err
}

// authenticate finds out who sends the form, by the signature of its policy. One
// without any field of a signature is anonymous.
func (p *posting) authenticate(ctx context.Context) error {
	f := p.form.Fields
	p.outer.Auth = p.server.in.Verifier().Unsigned()
	p.outer.Claimed, _, _ = strings.Cut(cmp.Or(f["x-amz-credential"], f["awsaccesskeyid"]), "/")
	if !p.form.Signed() {
		return nil
	}
	auth, err := p.server.in.Verifier().VerifyPolicy(ctx, sigv4.SignedPolicy{
		Policy: f["policy"], Algorithm: f["x-amz-algorithm"], Credential: f["x-amz-credential"], Date: f["x-amz-date"],
		Signature: f["x-amz-signature"], SessionToken: f["x-amz-security-token"],
		AccessKeyV2: f["awsaccesskeyid"], SignatureV2: f["signature"],
	})
	if err != nil {
		return fmt.Errorf("verify policy: %w", err)
	}
	p.outer.Auth = auth
	if p.outer.Caller, err = p.server.in.Identify(ctx, auth); err != nil {
		return err
	}
	p.policy, err = form.ParsePolicy(f["policy"])
	return err
}

// setRequest makes the PUT that the form stands for, once its policy allows it.
func (p *posting) setRequest() error {
	r, f := p.outer, p.form.Fields
	if f["key"] == "" {
		return errFormWithoutKey
	}
	if p.form.FileName != "" {
		f["key"] = strings.ReplaceAll(f["key"], "${filename}", p.form.FileName)
	}
	if p.policy != nil {
		if err := p.policy.Check(f, r.Bucket, time.Now()); err != nil {
			return err
		}
	}
	if bucket, given := f["bucket"]; given && bucket != r.Bucket {
		return fmt.Errorf("%w: the form names bucket %q", form.ErrCondition, bucket)
	}
	name, err := objectname.Of(r.Bucket, f["key"])
	switch {
	case err == nil && len(name.Key) > objectname.MaxKey:
		err = errKeyTooLong
	case err == nil && objectname.HasDotSegment(f["key"]): // cleaned, it would not be below what the policy says
		err = objectname.ErrKey
	}
	if err != nil {
		return err
	}
	header, err := formHeader(f)
	if err != nil {
		return err
	}
	if err := intake.RefuseHeaders(header); err != nil {
		return err
	}
	for _, name := range []string{"User-Agent", "Referer"} {
		if v := r.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	put := *r
	put.Key, r.Key = name.Key, name.Key // also for the log
	if err := r.Restate(); err != nil {
		return err
	}
	put.Request = r.WithContext(r.Context())
	put.Method, put.Header = http.MethodPut, header
	p.put = &put
	return p.setFile()
}

// setFile makes the form's file the body of the PUT. A file that may be large must
// be the form's last field: its size has to be known before it is read. Others are
// read whole first, and what follows them is not looked at, as on AWS.
func (p *posting) setFile() error {
	size := int64(-1)
	if p.outer.ContentLength >= 0 {
		n, err := p.form.FileSize(p.outer.ContentLength)
		if err != nil {
			return err
		}
		if n > p.server.o.SmallObject {
			size = n
		}
	}
	p.put.Body, p.put.ContentLength = io.NopCloser(p.form.File(size)), size
	return nil
}

// formHeader returns the headers that a form's fields stand for: a closed list
// besides what begins with x-amz-, of which the handler takes what a PUT may have.
func formHeader(fields map[string]string) (http.Header, error) {
	h := make(http.Header, len(fields))
	for name, value := range fields {
		switch name {
		case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token":
			continue
		case "acl":
			name = "x-amz-acl"
		case "tagging":
			tags, err := formTags(value)
			if err != nil {
				return nil, err
			}
			name, value = "x-amz-tagging", tags
		case "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "content-md5":
		default:
			if !strings.HasPrefix(name, "x-amz-") && !strings.HasPrefix(name, "x-minio-") {
				continue
			}
		}
		if !isHeaderName(name) || strings.ContainsFunc(value, isControl) {
			return nil, fmt.Errorf("form field %q cannot be a header: %w", name, form.ErrMalformed)
		}
		if h.Get(name) != "" {
			return nil, fmt.Errorf("form field %q under two names: %w", name, form.ErrRepeated)
		}
		h.Set(name, value)
	}
	return h, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// isHeaderName says whether name is a token of RFC 9110 (section 5.6.2).
func isHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// formTags returns a tagging document as the header has it.
func formTags(document string) (string, error) {
	var tags struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := xml.NewDecoder(strings.NewReader(document)).Decode(&tags); err != nil {
		return "", fmt.Errorf("tagging: %w", intake.ErrMalformedXML)
	}
	values := url.Values{}
	for _, t := range tags.Tags {
		if values.Has(t.Key) {
			return "", fmt.Errorf("tag %q is repeated: %w", t.Key, intake.ErrMalformedXML)
		}
		values.Set(t.Key, t.Value)
	}
	return values.Encode(), nil
}

// allows is asked once the file's size is known, before anything is stored.
func (p *posting) allows(size int64) error {
	if p.policy == nil {
		return nil
	}
	return p.policy.CheckSize(size)
}

// answer tells the browser what the headers tell of what was stored, in the way that the
// form asks for.
func (p *posting) answer(w http.ResponseWriter) {
	r, f, h := p.put, p.form.Fields, w.Header()
	location := location(r)
	h.Set("Location", location)
	redirect := f["success_action_redirect"]
	if redirect == "" {
		redirect = f["redirect"]
	}
	if to, err := url.Parse(redirect); err == nil && (to.Scheme == "http" || to.Scheme == "https") && to.Host != "" {
		query := to.Query()
		query.Set("bucket", r.Bucket)
		query.Set("key", r.Key)
		query.Set("etag", h.Get("ETag"))
		to.RawQuery = query.Encode()
		h.Set("Location", to.String())
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	switch status, _ := strconv.Atoi(f["success_action_status"]); status {
	case http.StatusCreated:
		var b bytes.Buffer
		b.WriteString(xml.Header + "<PostResponse>")
		element(&b, "Location", location)
		element(&b, "Bucket", r.Bucket)
		element(&b, "Key", r.Key)
		element(&b, "ETag", h.Get("ETag"))
		b.WriteString("</PostResponse>")
		writeXML(w, http.StatusCreated, b.Bytes())
	case http.StatusOK:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// location is the address of the request's object, as its client reached it.
func location(r *intake.Request) string {
	at := url.URL{Scheme: "http", Host: r.Host, Path: "/" + r.Key}
	if !r.VirtualHost {
		at.Path = "/" + r.Bucket + at.Path
	}
	if r.Origin.Secure {
		at.Scheme = "https"
	}
	return at.String()
}
