//! Objects of the `OpenAPI` document that utoipa leaves in parts, put together. What serde flattens into an object, and the
//! tag of a variant that holds another object, become an `allOf`, of which no part says what else may be there; here each
//! form that such an object can have becomes one object with all its fields.

use utoipa::openapi::schema::{AllOf, Components, Object};
use utoipa::openapi::{OneOfBuilder, RefOr, Schema};

/// Puts a schema together, which is one object or one of several.
pub(super) fn put_together(components: &mut Components, name: &str) {
    let Some(schema) = components.schemas.get(name) else { return };
    let description = match schema {
        RefOr::T(Schema::AllOf(AllOf { description, .. })) => description.clone(),
        RefOr::T(Schema::OneOf(one_of)) => one_of.description.clone(),
        _ => return,
    };
    let forms = forms(schema, components);
    let whole = forms
        .into_iter()
        .fold(OneOfBuilder::new().description(description), |whole, form| whole.item(Schema::Object(form)));
    components.schemas.insert(name.to_owned(), RefOr::T(whole.build().into()));
}

/// Every form that an object of this schema can have.
fn forms(schema: &RefOr<Schema>, components: &Components) -> Vec<Object> {
    match schema {
        RefOr::Ref(to) => {
            let name = to.ref_location.rsplit('/').next().unwrap_or_default();
            components.schemas.get(name).map(|schema| forms(schema, components)).unwrap_or_default()
        }
        RefOr::T(Schema::Object(object)) => vec![object.clone()],
        RefOr::T(Schema::OneOf(some)) => some.items.iter().flat_map(|item| forms(item, components)).collect(),
        RefOr::T(Schema::AllOf(all)) => {
            let mut whole = vec![Object::new()];
            for part in &all.items {
                let parts = forms(part, components);
                whole = whole
                    .iter()
                    .flat_map(|object| parts.iter().map(|part| with(object.clone(), part)))
                    .collect();
            }
            // Of several forms each says what it is.
            if let [object] = whole.as_mut_slice()
                && all.description.is_some()
            {
                object.description.clone_from(&all.description);
            }
            whole
        }
        RefOr::T(_) => Vec::new(),
    }
}

/// An object with the fields of another besides; what both have is as the other says.
fn with(mut object: Object, other: &Object) -> Object {
    for (name, property) in &other.properties {
        object.properties.insert(name.clone(), property.clone());
    }
    for name in &other.required {
        if !object.required.contains(name) {
            object.required.push(name.clone());
        }
    }
    if object.description.is_none() {
        object.description.clone_from(&other.description);
    }
    object
}
