//! The name of a client in its certificate: the common name of the subject (RFC 5280 section 4.1.2.6), or one of the subject
//! alternative names (section 4.2.1.6).
//!
//! Only for certificates that the handshake has verified. The walk over the DER needs no X.509 library, because it only
//! steps over elements until it reaches the name, and anything unexpected on the way gives no name.

use rustls_pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xA0;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xA3;
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// `id-at-commonName`, 2.5.4.3 (RFC 5280 appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// `id-ce-subjectAltName`, 2.5.29.17 (RFC 5280 section 4.2.1.6).
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// Which of its names a certificate is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    Common,
    /// A DNS name among the subject alternative names.
    Dns,
    /// An e-mail address among the subject alternative names.
    Email,
    /// A URI among the subject alternative names.
    Uri,
}

impl CertificateName {
    /// This name of the certificate. `None`: it has none of this kind or several, or one with control characters or in an encoding
    /// other than UTF8String, PrintableString and IA5String. A doubtful name is no name.
    pub fn of(self, certificate: &CertificateDer<'_>) -> Option<String> {
        let (subject, rest) = subject(certificate)?;
        let name = match self {
            CertificateName::Common => only_common_name(subject)?,
            CertificateName::Email => only_alternative(rest, RFC822_NAME)?,
            CertificateName::Dns => only_alternative(rest, DNS_NAME)?,
            CertificateName::Uri => only_alternative(rest, URI)?,
        };
        (!name.is_empty() && !name.chars().any(char::is_control)).then(|| name.to_owned())
    }
}

/// The contents of the subject, and what follows it: `Certificate > tbsCertificate > subject`.
fn subject(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        (_, _, fields) = element(fields)?;
    }
    expect(fields, SEQUENCE)
}

/// `tbsCertificate > extensions > subjectAltName > GeneralName` of this kind, of which there must be one.
fn only_alternative(mut fields: &[u8], kind: u8) -> Option<&str> {
    let mut extensions = loop {
        let (tag, contents, rest) = element(fields)?;
        match tag {
            EXTENSIONS => break expect(contents, SEQUENCE)?.0,
            _ => fields = rest,
        }
    };
    let mut names = loop {
        let (extension, rest) = expect(extensions, SEQUENCE)?;
        let (id, mut value) = expect(extension, OBJECT_IDENTIFIER)?;
        if id == SUBJECT_ALTERNATIVE_NAME {
            if let Some((_, behind)) = expect(value, BOOLEAN) {
                value = behind;
            }
            break expect(expect(value, OCTET_STRING)?.0, SEQUENCE)?.0;
        }
        extensions = rest;
    };
    let mut found = None;
    while !names.is_empty() {
        let (tag, name, rest) = element(names)?;
        if tag == kind && found.replace(name).is_some() {
            return None;
        }
        names = rest;
    }
    std::str::from_utf8(found?).ok().filter(|name| name.is_ascii())
}

/// `Name > RelativeDistinguishedName > AttributeTypeAndValue`.
fn only_common_name(mut names: &[u8]) -> Option<&str> {
    let mut found = None;
    while let Some((mut attributes, rest)) = expect(names, SET) {
        while let Some((attribute, others)) = expect(attributes, SEQUENCE) {
            let (kind, value) = expect(attribute, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME && found.replace(value).is_some() {
                return None;
            }
            attributes = others;
        }
        names = rest;
    }
    match element(found?)? {
        (UTF8_STRING | PRINTABLE_STRING | IA5_STRING, text, _) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

/// The contents of an element with this tag, and what follows it.
fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(input).filter(|(found, ..)| *found == tag).map(|(_, contents, rest)| (contents, rest))
}

/// Tag, contents and the rest. DER's definite lengths of up to three bytes: more than any certificate has.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, input) = input.split_first()?;
    let (first, input) = input.split_first()?;
    let (len, input) = match *first {
        short @ 0..=0x7F => (usize::from(short), input),
        long @ 0x81..=0x83 => {
            let (len_bytes, input) = input.split_at_checked(usize::from(long & 0x0F))?;
            (len_bytes.iter().fold(0, |len, byte| (len << 8) | usize::from(*byte)), input)
        }
        _ => return None,
    };
    let (contents, rest) = input.split_at_checked(len)?;
    Some((*tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: Vec<(DnType, DnValue)>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["device.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// RFC 5280 section 4.1.2.6: the subject's common name, among other attributes.
    #[test]
    fn common_name_is_found_among_others() {
        let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
        let organization = (DnType::OrganizationName, utf8("Plant"));
        let der = certificate(vec![organization.clone(), (DnType::CommonName, utf8("sensor-ä"))]);
        assert_eq!(CertificateName::Common.of(&der).as_deref(), Some("sensor-ä"));
        let printable = DnValue::PrintableString("sensor-7".try_into().unwrap());
        let der = certificate(vec![(DnType::CommonName, printable), organization.clone()]);
        assert_eq!(CertificateName::Common.of(&der).as_deref(), Some("sensor-7"));
        assert_eq!(CertificateName::Common.of(&certificate(vec![organization])), None);
        assert_eq!(CertificateName::Common.of(&certificate(vec![(DnType::CommonName, utf8("a\nb"))])), None);
        assert_eq!(
            CertificateName::Common.of(&certificate(vec![(DnType::CommonName, utf8(&"n".repeat(300)))])),
            Some("n".repeat(300))
        );
    }

    /// RFC 5280 section 4.2.1.6: exactly one name of the kind that is asked for.
    #[test]
    fn alternative_names_are_found_where_there_is_one() {
        use rcgen::SanType;
        let with = |names: Vec<SanType>| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names;
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let email = SanType::Rfc822Name("sensor@plant.example".try_into().unwrap());
        let uri = SanType::URI("urn:dev:7".try_into().unwrap());
        let der = with(vec![dns("sensor-7.plant.example"), email.clone(), uri]);
        assert_eq!(CertificateName::Dns.of(&der).as_deref(), Some("sensor-7.plant.example"));
        assert_eq!(CertificateName::Email.of(&der).as_deref(), Some("sensor@plant.example"));
        assert_eq!(CertificateName::Uri.of(&der).as_deref(), Some("urn:dev:7"));
        let der = with(vec![dns("a.example"), dns("b.example"), email]);
        assert_eq!(CertificateName::Dns.of(&der), None, "which of two names it is cannot be known");
        assert_eq!(CertificateName::Uri.of(&der), None);
        assert_eq!(CertificateName::Dns.of(&with(vec![])), None);
    }

    /// RFC 5280 section 4.1: a certificate that is cut or changed anywhere gives a name or none, never a panic.
    #[test]
    fn broken_certificate_is_survived() {
        let name = DnValue::Utf8String("sensor".to_owned());
        let der = certificate(vec![(DnType::CommonName, name)]);
        for cut in 0..der.len() {
            for name in [CertificateName::Common, CertificateName::Dns] {
                name.of(&der[..cut].into());
            }
            for value in [0x00, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = der.to_vec();
                changed[cut] = value;
                for name in [CertificateName::Common, CertificateName::Dns] {
                    name.of(&changed.clone().into());
                }
            }
        }
    }
}
