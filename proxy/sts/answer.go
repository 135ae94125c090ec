package sts

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/identity"
)

// parseAnswer reads the credential out of upstream's answer to an action.
// It takes nothing but the document that the action has, with each of the four
// elements once, so that no other parser finds another credential in it.
// ErrAnswer, and not what was in the answer.
func parseAnswer(action string, body []byte) (*identity.Identity, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("answer of %s: more than %d bytes: %w", action, maxBody, ErrAnswer)
	}
	found, err := credentialElements(action, body)
	if err != nil {
		return nil, err
	}
	expires, err := time.Parse(time.RFC3339, found["Expiration"])
	if err != nil {
		return nil, fmt.Errorf("answer of %s: Expiration: %w", action, ErrAnswer)
	}
	id := &identity.Identity{
		AccessKey: found["AccessKeyId"], SecretKey: found["SecretAccessKey"], SessionToken: found["SessionToken"], Expires: expires,
	}
	if id.AccessKey == "" || id.SecretKey == "" || id.SessionToken == "" {
		return nil, fmt.Errorf("answer of %s: an element is missing or empty: %w", action, ErrAnswer)
	}
	return id, nil
}

// credentialElements returns the texts of the elements of Credentials.
func credentialElements(action string, body []byte) (map[string]string, error) {
	place := []string{action + "Response", action + "Result", "Credentials"}
	dec := xml.NewDecoder(bytes.NewReader(body))
	dec.Strict = true
	var path []string
	var text strings.Builder
	found := make(map[string]string, 4)
	credentials, roots := 0, 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("answer of %s is not XML: %w", action, ErrAnswer)
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			if len(path) > 8 {
				return nil, fmt.Errorf("answer of %s is nested too deeply: %w", action, ErrAnswer)
			}
			if len(path) == 1 {
				roots++
				if t.Name.Local != place[0] || t.Name.Space != namespace {
					return nil, fmt.Errorf("answer of %s is another document: %w", action, ErrAnswer)
				}
			}
			if t.Name.Local == place[2] {
				credentials++
			}
			if inCredentials(path[:len(path)-1], place) {
				return nil, fmt.Errorf("answer of %s has elements inside a text: %w", action, ErrAnswer)
			}
			text.Reset()
		case xml.EndElement:
			if inCredentials(path, place) {
				if _, twice := found[t.Name.Local]; twice {
					return nil, fmt.Errorf("answer of %s has two of an element: %w", action, ErrAnswer)
				}
				found[t.Name.Local] = text.String()
			}
			path = path[:len(path)-1]
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.Directive:
			return nil, fmt.Errorf("answer of %s has a document type: %w", action, ErrAnswer)
		}
	}
	if roots != 1 || credentials != 1 || len(found) != 4 {
		return nil, fmt.Errorf("answer of %s does not hold one credential: %w", action, ErrAnswer)
	}
	return found, nil
}

// inCredentials says whether path is that of an element right below place.
func inCredentials(path, place []string) bool {
	if len(path) != len(place)+1 {
		return false
	}
	for i := range place {
		if path[i] != place[i] {
			return false
		}
	}
	return true
}
